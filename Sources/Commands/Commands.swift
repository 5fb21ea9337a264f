/// Placeholder until the module is written.
enum CommandsPlaceholder {}
