//! The load configuration of a file that is not linked by MSVC: its imports come from System32 alone.
//!
//! A DLL's static imports are otherwise looked up in the folder of the program that loads it first.
//! MSVC's C runtime brings a load configuration, and its linker has `/DEPENDENTLOADFLAG`; mingw-w64 has
//! neither. LLVM's linker makes what is called `_load_config_used` the file's load configuration, and
//! `cargo xtask` checks that it did. What is left out of IMAGE_LOAD_CONFIG_DIRECTORY (winnt.h) is zero:
//! no SafeSEH table, no cookie. DependentLoadFlags is LOAD_LIBRARY_SEARCH_SYSTEM32 (libloaderapi.h).

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

// C's names have an underscore more there.
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

// With Control Flow Guard: the linker defines the tables, their sizes and the flags, and mingw-w64's
// runtime over UCRT the pointers through which code asks whether it may call.
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

// Before the loader sets the pointer, and where Control Flow Guard is off, it leads here: every call may be
// made. mingw-w64 has this in a file of assembly, which zig leaves out.
#[cfg(all(target_arch = "x86_64", target_abi = "llvm"))]
global_asm!(
    ".text",
    ".globl __guard_dispatch_icall_dummy",
    ".p2align 4",
    "__guard_dispatch_icall_dummy:",
    "jmp rax",
);
