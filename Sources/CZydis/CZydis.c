#include "CZydis.h"

#include <errno.h>

_Static_assert(ZYDIS_VERSION_MAJOR(ZYDIS_VERSION) == 4, "written for Zydis 4");

static ZydisStackWidth stack_width(ZydisMachineMode mode) {
    switch (mode) {
    case ZYDIS_MACHINE_MODE_LONG_64:
        return ZYDIS_STACK_WIDTH_64;
    case ZYDIS_MACHINE_MODE_LONG_COMPAT_32:
    case ZYDIS_MACHINE_MODE_LEGACY_32:
        return ZYDIS_STACK_WIDTH_32;
    default:
        return ZYDIS_STACK_WIDTH_16;
    }
}

int czydis_decode(ZydisMachineMode mode, const uint8_t *bytes, size_t length,
                  ZydisDecodedInstruction *instruction, ZydisDecodedOperand *operands) {
    ZydisDecoder decoder;
    if (ZYAN_FAILED(ZydisDecoderInit(&decoder, mode, stack_width(mode))))
        return -EILSEQ;
    ZyanStatus status = ZydisDecoderDecodeFull(&decoder, bytes, length, instruction, operands);
    if (ZYAN_SUCCESS(status))
        return 0;
    return status == ZYDIS_STATUS_NO_MORE_DATA ? -ENODATA : -EILSEQ;
}

int czydis_format(ZydisFormatterStyle style, const ZydisDecodedInstruction *instruction,
                  const ZydisDecodedOperand *operands, uint64_t address, char *text, size_t length) {
    static const struct {
        ZydisFormatterProperty property;
        ZyanUPointer value;
    } properties[] = {
        {ZYDIS_FORMATTER_PROP_HEX_UPPERCASE, ZYAN_FALSE},
        {ZYDIS_FORMATTER_PROP_IMM_SIGNEDNESS, ZYDIS_SIGNEDNESS_UNSIGNED},
        {ZYDIS_FORMATTER_PROP_ADDR_PADDING_ABSOLUTE, ZYDIS_PADDING_DISABLED},
        {ZYDIS_FORMATTER_PROP_ADDR_PADDING_RELATIVE, ZYDIS_PADDING_DISABLED},
        {ZYDIS_FORMATTER_PROP_DISP_PADDING, ZYDIS_PADDING_DISABLED},
        {ZYDIS_FORMATTER_PROP_IMM_PADDING, ZYDIS_PADDING_DISABLED},
    };
    ZydisFormatter formatter;
    if (ZYAN_FAILED(ZydisFormatterInit(&formatter, style)))
        return -EINVAL;
    for (size_t i = 0; i < sizeof properties / sizeof *properties; i++) {
        if (ZYAN_FAILED(ZydisFormatterSetProperty(&formatter, properties[i].property, properties[i].value)))
            return -EINVAL;
    }
    // 16-bit addresses have no scale, and "[bx+si*1]" is not how anybody writes them.
    ZydisDecodedOperand written[ZYDIS_MAX_OPERAND_COUNT];
    for (size_t i = 0; i < instruction->operand_count_visible; i++) {
        written[i] = operands[i];
        if (instruction->address_width == 16 && written[i].type == ZYDIS_OPERAND_TYPE_MEMORY)
            written[i].mem.scale = 0;
    }
    ZyanStatus status =
        ZydisFormatterFormatInstruction(&formatter, instruction, written, instruction->operand_count_visible,
                                        text, length, address, ZYAN_NULL);
    return ZYAN_SUCCESS(status) ? 0 : -EINVAL;
}

const char *czydis_mnemonic(ZydisMnemonic mnemonic) { return ZydisMnemonicGetString(mnemonic); }
