// A program with debug information, for tests of symbols: they read it, and do not run it.

int fixture_counter = 7;

int fixture_add(int a, int b) { return a + b; }

int main(void) { return fixture_add(fixture_counter, -7); }
