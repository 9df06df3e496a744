// The load configuration that emulated x64 programs see. It says where the file's two kinds of code are:
// none of either, for its exports lead to other files.
        .section .rdata,"dr"
        .globl _load_config_used
        .p2align 3, 0
_load_config_used:
        .word 0x140             // Size
        .fill 0x4a, 1, 0
        .hword 0x800            // DependentLoadFlags
        .fill 0x78, 1, 0
        .xword __chpe_metadata  // CHPEMetadataPointer
        .fill 0x70, 1, 0
        .globl __chpe_metadata
        .p2align 3, 0
__chpe_metadata:
        .word 1                 // Version
        .rva __hybrid_code_map
        .word __hybrid_code_map_count
        .fill 0x60, 1, 0
