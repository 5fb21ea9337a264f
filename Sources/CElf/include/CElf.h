#ifndef CELF_H
#define CELF_H

#include <stddef.h>
#include <stdint.h>

/// An ELF file that elfutils has opened, with its symbol table and its DWARF, wherever they are: in the file, in
/// compressed sections, or in a file of their own that the file's build-id or debug link names.
typedef struct celf_file celf_file;

struct celf_header {
    /// ELFCLASS32 is 1, ELFCLASS64 is 2.
    int class;
    /// ET_REL is 1, ET_EXEC 2, ET_DYN 3.
    int type;
    /// EM_386 is 3, EM_X86_64 is 62.
    int machine;
    uint64_t entry;
    /// The lowest address of a PT_LOAD segment; UINT64_MAX if there is none.
    uint64_t lowest_segment;
    /// The lowest address of a section that is loaded and has a size, and the first one after the highest;
    /// UINT64_MAX and 0 if there is none.
    uint64_t lowest_section;
    uint64_t end;
};

struct celf_symbol {
    const char *name;
    /// As in the file; of a relocatable one, where its sections were laid out.
    uint64_t address;
    uint64_t size;
    /// STT_* and STB_*.
    int type;
    int binding;
    /// SHN_UNDEF is 0, SHN_ABS 0xfff1, SHN_COMMON 0xfff2.
    uint32_t section;
};

struct celf_line {
    uint64_t address;
    /// Of the unit's files.
    size_t file;
    int line;
    int begins_statement;
    int ends_sequence;
};

/// Opens the file at `path`. Returns 0, -errno of open(2), -ENOEXEC where it is no ELF file that elfutils takes,
/// or -ENOMEM.
int celf_open(const char *path, celf_file **file);
/// The same for an image in memory, which is left alone until the file is closed; elfutils may change it.
int celf_open_memory(void *bytes, size_t count, celf_file **file);
void celf_close(celf_file *file);

/// Returns 0, or -ENOEXEC.
int celf_header(celf_file *file, struct celf_header *header);

/// Symbols, the first of which is none; 0 where there is no table.
int celf_symbol_count(celf_file *file);
/// Returns 0, or -ENOENT for one that cannot be read. The name is valid until the file is closed.
int celf_symbol(celf_file *file, int index, struct celf_symbol *symbol);

/// Goes to the next unit that has lines, the first one at first. Returns 1, 0 after the last, -ENODATA where
/// there is no DWARF, or -EILSEQ where it is broken from here on; a unit whose lines are broken is passed over
/// and counted in `broken`.
int celf_next_unit(celf_file *file, size_t *broken);
size_t celf_file_count(const celf_file *file);
/// The path of a source file of the unit, or NULL. Valid until the file is closed.
const char *celf_file_name(const celf_file *file, size_t index);
/// The folder that the unit was compiled in, which relative paths begin at, or NULL. Valid until the file is closed.
const char *celf_unit_folder(celf_file *file);
size_t celf_line_count(const celf_file *file);
/// Returns 0, or -EILSEQ.
int celf_line(const celf_file *file, size_t index, struct celf_line *line);

#endif
