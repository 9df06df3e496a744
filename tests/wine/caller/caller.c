/* An ordinary Windows program that maps drives as its command line says, and knows nothing of
 * mpr-otel. Each word is done in turn; `-` stands for NULL. One line tells each call's code.
 *
 *   type N   flags N   force N        used by the calls that follow
 *   add LOCAL REMOTE                  WNetAddConnectionW
 *   add2 LOCAL REMOTE                 WNetAddConnection2W
 *   add3 LOCAL REMOTE                 WNetAddConnection3W
 *   use LOCAL REMOTE                  WNetUseConnectionW
 *   cancel NAME                       WNetCancelConnectionW
 *   cancel2 NAME                      WNetCancelConnection2W
 *   ordinary                          the thread gets a token without the administrators' rights
 *   read-key KEY                      opens a key below HKEY_LOCAL_MACHINE for reading
 *   rights KEY                        prints its owner and access control list, before its code
 *   impersonate                       ImpersonateSelf: the thread gets a token of its own
 *   lock                              takes the loader's lock, until the end
 *   wait                              until standard input is closed
 *   exit CODE                         ExitProcess
 *   kill CODE                         TerminateProcess, as a task manager would
 *
 * Called net.exe, it does what `net use NAME` and `net use NAME /delete` do on Windows.
 */
#include <windows.h>
#include <aclapi.h>
#include <sddl.h>
#include <stdio.h>
#include <stdlib.h>
#include <wchar.h>

static wchar_t **next_word, **last_word;

static wchar_t *word(void)
{
    if (next_word == last_word) {
        fwprintf(stderr, L"caller: the command line ends too early\n");
        exit(2);
    }
    return *next_word++;
}

static wchar_t *name(void)
{
    wchar_t *given = word();
    return wcscmp(given, L"-") ? given : NULL;
}

/* What an ordinary user's program is beside an administrator's. */
static DWORD become_ordinary(void)
{
    SID_IDENTIFIER_AUTHORITY authority = {SECURITY_NT_AUTHORITY};
    SID_AND_ATTRIBUTES administrators = {0};
    HANDLE own, primary, token;
    if (!AllocateAndInitializeSid(&authority, 2, SECURITY_BUILTIN_DOMAIN_RID,
                                  DOMAIN_ALIAS_RID_ADMINS, 0, 0, 0, 0, 0, 0, &administrators.Sid)
        || !OpenProcessToken(GetCurrentProcess(), TOKEN_ALL_ACCESS, &own)
        || !CreateRestrictedToken(own, DISABLE_MAX_PRIVILEGE, 1, &administrators, 0, NULL, 0, NULL,
                                  &primary)
        || !DuplicateTokenEx(primary, TOKEN_ALL_ACCESS, NULL, SecurityImpersonation,
                             TokenImpersonation, &token)
        || !SetThreadToken(NULL, token)) {
        return GetLastError();
    }
    return 0;
}

static DWORD read_key(wchar_t *path)
{
    HKEY key;
    DWORD code = RegOpenKeyExW(HKEY_LOCAL_MACHINE, path, 0, KEY_READ, &key);
    if (!code) {
        RegCloseKey(key);
    }
    return code;
}

static DWORD print_rights(wchar_t *path)
{
    SECURITY_INFORMATION parts = OWNER_SECURITY_INFORMATION | DACL_SECURITY_INFORMATION;
    PSECURITY_DESCRIPTOR descriptor;
    wchar_t *text;
    HKEY key;
    DWORD code = RegOpenKeyExW(HKEY_LOCAL_MACHINE, path, 0, KEY_READ, &key);
    if (code) {
        return code;
    }
    code = GetSecurityInfo(key, SE_REGISTRY_KEY, parts, NULL, NULL, NULL, NULL, &descriptor);
    if (code) {
        return code;
    }
    if (!ConvertSecurityDescriptorToStringSecurityDescriptorW(descriptor, SDDL_REVISION_1, parts,
                                                              &text, NULL)) {
        return GetLastError();
    }
    wprintf(L"%ls\n", text);
    return 0;
}

/* Wine's winternl.h declares the function; the test needs what holds the lock, not how. */
static DWORD take_loader_lock(void)
{
    typedef LONG (WINAPI *lock_function)(ULONG, ULONG *, ULONG_PTR *);
    ULONG_PTR magic;
    HMODULE ntdll = GetModuleHandleW(L"ntdll.dll");
    lock_function lock = (lock_function)(void *)GetProcAddress(ntdll, "LdrLockLoaderLock");
    return lock(0, NULL, &magic);
}

static DWORD number(void)
{
    return wcstoul(word(), NULL, 0);
}

/* Waits for this program's ledger, because a start-up that takes longer than a call waits for it would
 * end with this program: on a busy machine. */
static void wait_for_ledger(void)
{
    wchar_t pattern[MAX_PATH], files[MAX_PATH];
    WIN32_FIND_DATAW found;
    HANDLE search = INVALID_HANDLE_VALUE;
    int turns;
    ExpandEnvironmentStringsW(L"%ProgramData%\\mpr-otel\\ledger", pattern, MAX_PATH);
    swprintf(files, MAX_PATH, L"%ls\\%lu-*.ledger", pattern, GetCurrentProcessId());
    for (turns = 0; turns < 500 && search == INVALID_HANDLE_VALUE; turns++) {
        search = FindFirstFileW(files, &found);
        Sleep(10);
    }
    FindClose(search);
}

/* Ends as `net use` does: with 2 and the code in a sentence if it fails. */
static int net_use(wchar_t *remote, int cancel)
{
    NETRESOURCEW resource = {0};
    DWORD code;
    resource.lpRemoteName = remote;
    code = cancel ? WNetCancelConnection2W(remote, 0, TRUE)
                  : WNetAddConnection2W(&resource, NULL, NULL, 0);
    wait_for_ledger();
    if (!code) {
        wprintf(L"The command completed successfully.\n");
        return 0;
    }
    fwprintf(stderr, L"System error %lu has occurred.\n", code);
    return 2;
}

int wmain(int count, wchar_t **words)
{
    DWORD type = RESOURCETYPE_DISK, flags = 0, force = 0;
    if (count > 2 && wcsstr(words[0], L"net.exe")) {
        return net_use(words[2], count > 3);
    }
    next_word = words + 1;
    last_word = words + count;
    while (next_word != last_word) {
        wchar_t *verb = word();
        DWORD code = 0;
        if (!wcscmp(verb, L"type")) {
            type = number();
            continue;
        } else if (!wcscmp(verb, L"flags")) {
            flags = number();
            continue;
        } else if (!wcscmp(verb, L"force")) {
            force = number();
            continue;
        } else if (!wcscmp(verb, L"wait")) {
            while (getchar() != EOF) {
            }
            continue;
        } else if (!wcscmp(verb, L"impersonate")) {
            code = ImpersonateSelf(SecurityImpersonation) ? 0 : GetLastError();
        } else if (!wcscmp(verb, L"ordinary")) {
            code = become_ordinary();
        } else if (!wcscmp(verb, L"read-key")) {
            code = read_key(word());
        } else if (!wcscmp(verb, L"rights")) {
            code = print_rights(word());
        } else if (!wcscmp(verb, L"lock")) {
            code = take_loader_lock();
        } else if (!wcscmp(verb, L"exit")) {
            ExitProcess(number());
        } else if (!wcscmp(verb, L"kill")) {
            TerminateProcess(GetCurrentProcess(), number());
        } else if (!wcscmp(verb, L"cancel")) {
            code = WNetCancelConnectionW(name(), force);
        } else if (!wcscmp(verb, L"cancel2")) {
            code = WNetCancelConnection2W(name(), flags, force);
        } else {
            wchar_t access[1024];
            DWORD length = 1024, result;
            NETRESOURCEW resource = {0};
            resource.dwType = type;
            resource.lpLocalName = name();
            resource.lpRemoteName = name();
            if (!wcscmp(verb, L"add")) {
                code = WNetAddConnectionW(resource.lpRemoteName, NULL, resource.lpLocalName);
            } else if (!wcscmp(verb, L"add2")) {
                code = WNetAddConnection2W(&resource, NULL, NULL, flags);
            } else if (!wcscmp(verb, L"add3")) {
                code = WNetAddConnection3W(NULL, &resource, NULL, NULL, flags);
            } else if (!wcscmp(verb, L"use")) {
                code = WNetUseConnectionW(NULL, &resource, NULL, NULL, flags, access, &length, &result);
            } else {
                fwprintf(stderr, L"caller: unknown: %ls\n", verb);
                return 2;
            }
        }
        wprintf(L"%ls %lu\n", verb, code);
        fflush(stdout);
    }
    return 0;
}
