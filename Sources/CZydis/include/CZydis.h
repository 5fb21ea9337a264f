#ifndef CZYDIS_H
#define CZYDIS_H

#include <Zydis/Zydis.h>

/// Decodes one instruction and its operands, those that are not written out included.
///
/// `bytes` holds `length` bytes. `operands` has room for ZYDIS_MAX_OPERAND_COUNT. Returns 0, -ENODATA where the
/// bytes end before the instruction does, or -EILSEQ where they are no instruction of the mode.
int czydis_decode(ZydisMachineMode mode, const uint8_t *bytes, size_t length,
                  ZydisDecodedInstruction *instruction, ZydisDecodedOperand *operands);

/// Writes the instruction as text, NUL-terminated, in lower case with unsigned hexadecimal immediates.
///
/// `address` is where the instruction stands, for relative operands. Returns 0, or -EINVAL where the text
/// does not fit into `length` bytes.
int czydis_format(ZydisFormatterStyle style, const ZydisDecodedInstruction *instruction,
                  const ZydisDecodedOperand *operands, uint64_t address, char *text, size_t length);

/// The mnemonic's name, a static string; NULL for a number that is none.
const char *czydis_mnemonic(ZydisMnemonic mnemonic);

#endif
