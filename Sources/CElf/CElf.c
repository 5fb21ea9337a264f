#include "CElf.h"

#include <dwarf.h>
#include <elfutils/libdw.h>
#include <elfutils/libdwfl.h>
#include <errno.h>
#include <fcntl.h>
#include <gelf.h>
#include <limits.h>
#include <stdlib.h>
#include <unistd.h>

struct celf_file {
    Dwfl *dwfl;
    Dwfl_Module *module;
    Elf *elf;
    /// What elfutils added to the addresses of the file.
    GElf_Addr elf_bias;
    int is_relocatable;
    /// Where elfutils' layout of a relocatable file ends.
    Dwarf_Addr end;
    Dwarf *dwarf;
    Dwarf_Addr dwarf_bias;
    int has_looked;
    Dwarf_CU *cu;
    Dwarf_Files *files;
    size_t file_count;
    Dwarf_Lines *lines;
    size_t line_count;
};

static const Dwfl_Callbacks file_callbacks = {
    .find_elf = dwfl_build_id_find_elf,
    .find_debuginfo = dwfl_standard_find_debuginfo,
    .section_address = dwfl_offline_section_address,
};

static int find_nothing(Dwfl_Module *module, void **user, const char *name, Dwarf_Addr base, const char *path,
    const char *link, GElf_Word sum, char **found) {
    (void)module, (void)user, (void)name, (void)base, (void)path, (void)link, (void)sum, (void)found;
    return -1;
}

/// An image in memory is all there is: no file beside it is looked for.
static const Dwfl_Callbacks memory_callbacks = {
    .find_elf = dwfl_build_id_find_elf,
    .find_debuginfo = find_nothing,
    .section_address = dwfl_offline_section_address,
};

static int finish(celf_file *opened, celf_file **file) {
    if (opened->module != NULL && dwfl_report_end(opened->dwfl, NULL, NULL) == 0) {
        opened->elf = dwfl_module_getelf(opened->module, &opened->elf_bias);
        GElf_Ehdr ehdr;
        if (opened->elf != NULL && gelf_getehdr(opened->elf, &ehdr) != NULL) {
            if (ehdr.e_type == ET_REL) {
                // elfutils lays the sections out somewhere: for us they begin at 0.
                opened->is_relocatable = 1;
                dwfl_module_info(opened->module, NULL, &opened->elf_bias, &opened->end, NULL, NULL, NULL, NULL);
            }
            *file = opened;
            return 0;
        }
    }
    celf_close(opened);
    return -ENOEXEC;
}

static celf_file *begin(const Dwfl_Callbacks *callbacks) {
    celf_file *file = calloc(1, sizeof *file);
    if (file == NULL) return NULL;
    file->dwfl = dwfl_begin(callbacks);
    if (file->dwfl == NULL) {
        free(file);
        return NULL;
    }
    dwfl_report_begin(file->dwfl);
    return file;
}

int celf_open(const char *path, celf_file **file) {
    int descriptor = open(path, O_RDONLY | O_CLOEXEC);
    if (descriptor < 0) return -errno;
    celf_file *opened = begin(&file_callbacks);
    if (opened == NULL) {
        close(descriptor);
        return -ENOMEM;
    }
    // It owns the descriptor if it takes it.
    opened->module = dwfl_report_offline(opened->dwfl, "", path, descriptor);
    if (opened->module == NULL) close(descriptor);
    return finish(opened, file);
}

int celf_open_memory(void *bytes, size_t count, celf_file **file) {
    // elfutils 0.188 goes on with what this gives without a look: NULL for what is too short.
    elf_version(EV_CURRENT);
    Elf *elf = elf_memory(bytes, count);
    if (elf == NULL) return -ENOEXEC;
    elf_end(elf);
    celf_file *opened = begin(&memory_callbacks);
    if (opened == NULL) return -ENOMEM;
    opened->module = dwfl_report_offline_memory(opened->dwfl, "", "memory", bytes, count);
    return finish(opened, file);
}

void celf_close(celf_file *file) {
    if (file == NULL) return;
    dwfl_end(file->dwfl);
    free(file);
}

int celf_header(celf_file *file, struct celf_header *header) {
    GElf_Ehdr ehdr;
    if (gelf_getehdr(file->elf, &ehdr) == NULL) return -ENOEXEC;
    *header = (struct celf_header){
        .class = gelf_getclass(file->elf),
        .type = ehdr.e_type,
        .machine = ehdr.e_machine,
        .entry = ehdr.e_entry,
        .lowest_segment = UINT64_MAX,
        .lowest_section = UINT64_MAX,
    };
    if (file->is_relocatable) {
        header->lowest_section = 0;
        header->end = file->end - file->elf_bias;
        return 0;
    }
    size_t count = 0;
    if (elf_getphdrnum(file->elf, &count) == 0) {
        for (size_t i = 0; i < count && i <= INT_MAX; i++) {
            GElf_Phdr phdr;
            if (gelf_getphdr(file->elf, (int)i, &phdr) == NULL) break;
            if (phdr.p_type == PT_LOAD && phdr.p_vaddr < header->lowest_segment)
                header->lowest_segment = phdr.p_vaddr;
        }
    }
    Elf_Scn *section = NULL;
    while ((section = elf_nextscn(file->elf, section)) != NULL) {
        GElf_Shdr shdr;
        if (gelf_getshdr(section, &shdr) == NULL) break;
        if (!(shdr.sh_flags & SHF_ALLOC) || shdr.sh_size == 0) continue;
        // The thread's own data has addresses beside those of the rest.
        if (shdr.sh_flags & SHF_TLS) continue;
        uint64_t end = shdr.sh_addr + shdr.sh_size;
        if (end < shdr.sh_addr) end = UINT64_MAX;
        if (shdr.sh_addr < header->lowest_section) header->lowest_section = shdr.sh_addr;
        if (end > header->end) header->end = end;
    }
    return 0;
}

int celf_symbol_count(celf_file *file) {
    int count = dwfl_module_getsymtab(file->module);
    return count < 0 ? 0 : count;
}

int celf_symbol(celf_file *file, int index, struct celf_symbol *symbol) {
    GElf_Sym sym;
    GElf_Addr address;
    GElf_Word section = 0;
    const char *name = dwfl_module_getsym_info(
        file->module, index, &sym, &address, &section, NULL, NULL);
    if (name == NULL) return -ENOENT;
    *symbol = (struct celf_symbol){
        .name = name,
        .address = section == SHN_ABS ? sym.st_value : address - file->elf_bias,
        .size = sym.st_size,
        .type = GELF_ST_TYPE(sym.st_info),
        .binding = GELF_ST_BIND(sym.st_info),
        .section = section,
    };
    return 0;
}

static int find_dwarf(celf_file *file) {
    if (!file->has_looked) {
        file->has_looked = 1;
        file->dwarf = dwfl_module_getdwarf(file->module, &file->dwarf_bias);
    }
    return file->dwarf == NULL ? -ENODATA : 0;
}

int celf_next_unit(celf_file *file, size_t *broken) {
    int found = find_dwarf(file);
    if (found < 0) return found;
    for (;;) {
        file->lines = NULL;
        file->line_count = 0;
        file->files = NULL;
        file->file_count = 0;
        int next = dwarf_get_units(file->dwarf, file->cu, &file->cu, NULL, NULL, NULL, NULL);
        if (next == 1) return 0;
        if (next < 0) return -EILSEQ;
        Dwarf_Die die;
        if (dwarf_cu_die(file->cu, &die, NULL, NULL, NULL, NULL, NULL, NULL) == NULL) return -EILSEQ;
        int tag = dwarf_tag(&die);
        if (tag != DW_TAG_compile_unit && tag != DW_TAG_skeleton_unit) continue;
        if (!dwarf_hasattr(&die, DW_AT_stmt_list)) continue;
        if (dwarf_getsrclines(&die, &file->lines, &file->line_count) != 0
            || dwarf_getsrcfiles(&die, &file->files, &file->file_count) != 0) {
            file->line_count = 0;
            file->file_count = 0;
            *broken += 1;
            continue;
        }
        return 1;
    }
}

size_t celf_file_count(const celf_file *file) { return file->file_count; }

const char *celf_file_name(const celf_file *file, size_t index) {
    return index < file->file_count ? dwarf_filesrc(file->files, index, NULL, NULL) : NULL;
}

const char *celf_unit_folder(celf_file *file) {
    Dwarf_Die die;
    Dwarf_Attribute folder;
    if (file->cu == NULL || dwarf_cu_die(file->cu, &die, NULL, NULL, NULL, NULL, NULL, NULL) == NULL) return NULL;
    return dwarf_attr(&die, DW_AT_comp_dir, &folder) != NULL ? dwarf_formstring(&folder) : NULL;
}

size_t celf_line_count(const celf_file *file) { return file->line_count; }

int celf_line(const celf_file *file, size_t index, struct celf_line *line) {
    if (index >= file->line_count) return -EILSEQ;
    Dwarf_Line *found = dwarf_onesrcline(file->lines, index);
    Dwarf_Addr address;
    Dwarf_Files *files;
    size_t number;
    int source;
    bool begins, ends;
    if (found == NULL || dwarf_lineaddr(found, &address) != 0 || dwarf_lineno(found, &source) != 0
        || dwarf_linebeginstatement(found, &begins) != 0 || dwarf_lineendsequence(found, &ends) != 0
        || dwarf_line_file(found, &files, &number) != 0 || files != file->files)
        return -EILSEQ;
    *line = (struct celf_line){
        // DWARF in a file of its own may be moved by another amount than the code.
        .address = address + (file->is_relocatable ? 0 : file->dwarf_bias) - file->elf_bias,
        .file = number,
        .line = source,
        .begins_statement = begins,
        .ends_sequence = ends,
    };
    return 0;
}
