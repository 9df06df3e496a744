// The load configuration that arm64 programs see: imports, and what the exports lead to, come from
// System32 alone. Without one here and one in ec.s, the linker makes no Arm64X file.
        .section .rdata,"dr"
        .globl _load_config_used
        .p2align 3, 0
_load_config_used:
        .word 0x140             // Size
        .fill 0x4a, 1, 0
        .hword 0x800            // DependentLoadFlags
        .fill 0xf0, 1, 0
