//! The load configuration of a file that MSVC did not link: it says that imports come only from
//! System32.
//!
//! Otherwise Windows looks for a DLL's static imports first in the folder of the program that loads
//! it. MSVC's C runtime has a load configuration, and its linker has `/DEPENDENTLOADFLAG`;
//! mingw-w64 has neither. LLVM's linker takes the symbol `_load_config_used` as the file's load
//! configuration, and `cargo xtask` checks that it did. All other fields of
//! IMAGE_LOAD_CONFIG_DIRECTORY (winnt.h) are zero, so there is no SafeSEH table and no cookie.
//! DependentLoadFlags is LOAD_LIBRARY_SEARCH_SYSTEM32 (libloaderapi.h).

use core::arch::global_asm;

#[cfg(all(target_pointer_width = "64", not(target_abi = "llvm")))]
global_asm!(
    ".section .rdata,\"dr\"",
    ".globl _load_config_used",
    ".p2align 4",
    "_load_config_used:",
    ".long 0x140", // Size
    ".zero 0x4E - 4",
    ".short 0x800", // DependentLoadFlags
    ".zero 0x140 - 0x50",
    ".text",
);

// On 32 bits C's names have one more underscore.
#[cfg(all(target_pointer_width = "32", not(target_abi = "llvm")))]
global_asm!(
    ".section .rdata,\"dr\"",
    ".globl __load_config_used",
    ".p2align 4",
    "__load_config_used:",
    ".long 0xC0", // Size
    ".zero 0x36 - 4",
    ".short 0x800", // DependentLoadFlags
    ".zero 0xC0 - 0x38",
    ".text",
);

// With Control Flow Guard. The linker defines the tables, their sizes and the flags. mingw-w64's
// runtime for UCRT defines the pointers to the functions that check a call.
#[cfg(all(target_pointer_width = "64", target_abi = "llvm"))]
global_asm!(
    ".section .rdata,\"dr\"",
    ".globl _load_config_used",
    ".p2align 4",
    "_load_config_used:",
    ".long 0x140", // Size
    ".zero 0x4E - 4",
    ".short 0x800", // DependentLoadFlags
    ".zero 0x70 - 0x50",
    ".quad __guard_check_icall_fptr", // GuardCFCheckFunctionPointer
    #[cfg(target_arch = "x86_64")]
    ".quad __guard_dispatch_icall_fptr", // GuardCFDispatchFunctionPointer
    #[cfg(not(target_arch = "x86_64"))]
    ".quad 0",
    ".quad __guard_fids_table", // GuardCFFunctionTable
    ".quad __guard_fids_count", // GuardCFFunctionCount
    ".long __guard_flags",      // GuardFlags
    ".zero 0xA0 - 0x94",
    ".quad __guard_iat_table",     // GuardAddressTakenIatEntryTable
    ".quad __guard_iat_count",     // GuardAddressTakenIatEntryCount
    ".quad __guard_longjmp_table", // GuardLongJumpTargetTable
    ".quad __guard_longjmp_count", // GuardLongJumpTargetCount
    ".zero 0x140 - 0xC0",
    ".text",
);

#[cfg(all(target_pointer_width = "32", target_abi = "llvm"))]
global_asm!(
    ".section .rdata,\"dr\"",
    ".globl __load_config_used",
    ".p2align 4",
    "__load_config_used:",
    ".long 0xC0", // Size
    ".zero 0x36 - 4",
    ".short 0x800", // DependentLoadFlags
    ".zero 0x48 - 0x38",
    ".long ___guard_check_icall_fptr", // GuardCFCheckFunctionPointer
    ".long 0",
    ".long ___guard_fids_table", // GuardCFFunctionTable
    ".long ___guard_fids_count", // GuardCFFunctionCount
    ".long ___guard_flags",      // GuardFlags
    ".zero 0x68 - 0x5C",
    ".long ___guard_iat_table",     // GuardAddressTakenIatEntryTable
    ".long ___guard_iat_count",     // GuardAddressTakenIatEntryCount
    ".long ___guard_longjmp_table", // GuardLongJumpTargetTable
    ".long ___guard_longjmp_count", // GuardLongJumpTargetCount
    ".zero 0xC0 - 0x78",
    ".text",
);

// The loader sets this pointer if Control Flow Guard is on. Until then the pointer leads here, and
// every call is allowed. mingw-w64 has this code in an assembly file, which zig leaves out.
#[cfg(all(target_arch = "x86_64", target_abi = "llvm"))]
global_asm!(
    ".text",
    ".globl __guard_dispatch_icall_dummy",
    ".p2align 4",
    "__guard_dispatch_icall_dummy:",
    "jmp rax",
);
