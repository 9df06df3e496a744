/*
 * A host program in C: loads the notification library with dlopen and plays MPR's side of the
 * contract, rightly or wrongly. The structures are declared here once more, from the published
 * documentation of npapi.h and winnetwk.h, so that nothing is shared with the library but the ABI.
 *
 *   host LIBRARY MODE
 *
 * Prints "played" when it is through, then lives until its standard input is closed. Exits with 1
 * if the library breaks its side of the contract.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

typedef uint32_t DWORD;
typedef uint16_t WCHAR;

typedef struct { DWORD dwNotifyStatus, dwOperationStatus; void *lpContext; } NOTIFYINFO;
typedef struct {
    DWORD dwScope, dwType, dwDisplayType, dwUsage;
    const WCHAR *lpLocalName, *lpRemoteName, *lpComment, *lpProvider;
} NETRESOURCEW;
typedef struct { void *hwndOwner; NETRESOURCEW NetResource; DWORD dwAddFlags; } NOTIFYADD;
typedef struct { const WCHAR *lpName, *lpProvider; DWORD dwFlags; int32_t fForce; } NOTIFYCANCEL;

enum { NOTIFY_PRE = 1, NOTIFY_POST = 2, DISK = 1 };

static DWORD (*add_notify)(NOTIFYINFO *, NOTIFYADD *);
static DWORD (*cancel_notify)(NOTIFYINFO *, NOTIFYCANCEL *);

/* Memory that nobody may read: what undefined fields point to. */
static const WCHAR *unmapped;

/* Seconds that the wall clock is set back by. The definition below takes the C library's place
 * for this program and all it loads. */
static volatile int set_back;

int clock_gettime(clockid_t clock, struct timespec *now) {
    int status = (int)syscall(SYS_clock_gettime, clock, now);
    if (clock == CLOCK_REALTIME) now->tv_sec -= set_back;
    return status;
}

#ifdef COUNT_ALLOCATIONS
/* Allocations of the calling thread. These definitions take the C library's place for this
 * program and all it loads. */
static __thread long allocations;
extern void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t), *__libc_memalign(size_t, size_t);
void *malloc(size_t size) { allocations++; return __libc_malloc(size); }
void *calloc(size_t count, size_t size) { allocations++; return __libc_calloc(count, size); }
void *realloc(void *old, size_t size) { allocations++; return __libc_realloc(old, size); }
int posix_memalign(void **place, size_t alignment, size_t size) {
    allocations++;
    return (*place = __libc_memalign(alignment, size)) ? 0 : 12;
}
#endif

#ifdef FAIL_ALLOCATION
/* The allocation of other threads than main's that fails, counted from 0, and all behind it. These
 * definitions take the C library's place for this program and all it loads. */
static long failing = -1;
static _Atomic long others_allocations;
static _Atomic int has_failed;
static __thread int is_main;
extern void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t), *__libc_memalign(size_t, size_t);
/* Two of glibc's own succeed, because it ends the process without them: the memory of a library's
 * thread-local variables, and the registration of their destructors. Windows has neither. */
static int fails(void *caller) {
    Dl_info place;
    if (is_main || failing < 0) return 0;
    if (dladdr(caller, &place)
        && (strstr(place.dli_fname, "ld-linux")
            || (place.dli_sname && !strcmp(place.dli_sname, "__cxa_thread_atexit_impl"))))
        return 0;
    if (others_allocations++ < failing) return 0;
    has_failed = 1;
    return 1;
}
void *malloc(size_t size) { return fails(__builtin_return_address(0)) ? NULL : __libc_malloc(size); }
void *calloc(size_t count, size_t size) { return fails(__builtin_return_address(0)) ? NULL : __libc_calloc(count, size); }
void *realloc(void *old, size_t size) { return fails(__builtin_return_address(0)) ? NULL : __libc_realloc(old, size); }
int posix_memalign(void **place, size_t alignment, size_t size) {
    return (*place = fails(__builtin_return_address(0)) ? NULL : __libc_memalign(alignment, size)) ? 0 : 12;
}
#endif

static void fail(const char *what) {
    printf("breach: %s\n", what);
    fflush(stdout);
    _exit(1);
}

static void must_succeed(DWORD returned) {
    if (returned != 0) fail("a function did not return WN_SUCCESS");
}

static void load(const char *path, void **library) {
    *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!*library) fail(dlerror());
    *(void **)&add_notify = dlsym(*library, "AddConnectNotify");
    *(void **)&cancel_notify = dlsym(*library, "CancelConnectNotify");
    if (!add_notify || !cancel_notify) fail("an export is missing");
}

static void wait_ms(int ms) {
    struct timespec span = {ms / 1000, ms % 1000 * 1000000L};
    nanosleep(&span, NULL);
}

/* An add-connection as MPR announces it: undefined fields cannot be read. */
static NOTIFYADD an_add(const WCHAR *remote, const WCHAR *local, DWORD type, DWORD flags) {
    NOTIFYADD add;
    memset(&add, 0xEE, sizeof add);
    add.NetResource.dwType = type;
    add.NetResource.lpLocalName = local;
    add.NetResource.lpRemoteName = remote;
    add.NetResource.lpComment = unmapped;
    add.NetResource.lpProvider = unmapped;
    add.dwAddFlags = flags;
    return add;
}

static void *pre_add(NOTIFYADD *add) {
    NOTIFYINFO info = {NOTIFY_PRE, 0, NULL};
    must_succeed(add_notify(&info, add));
    return info.lpContext;
}

/* lpProvider of an add is undefined after a success as well: it stays what cannot be read. */
static void post_add(NOTIFYADD *add, void *context, DWORD status) {
    NOTIFYINFO info = {NOTIFY_POST, status, context};
    must_succeed(add_notify(&info, add));
}

/* Whether the library may be without memory. */
static int may_go_unrecorded;

static void whole_add(const WCHAR *remote, const WCHAR *local, DWORD status, int ms) {
    NOTIFYADD add = an_add(remote, local, DISK, 1);
    void *context = pre_add(&add);
    if (context == NULL && !may_go_unrecorded) fail("no context for an operation");
    wait_ms(ms);
    if (context) post_add(&add, context, status);
}

static void whole_cancel(const WCHAR *name, DWORD status, int ms) {
    NOTIFYCANCEL cancel = {name, unmapped, 0, 1};
    NOTIFYINFO info = {NOTIFY_PRE, 0, NULL};
    must_succeed(cancel_notify(&info, &cancel));
    if (!info.lpContext) fail("no context for an operation");
    wait_ms(ms);
    info.dwNotifyStatus = NOTIFY_POST;
    info.dwOperationStatus = status;
    cancel.lpProvider = status ? unmapped : u"Microsoft Windows Network";
    must_succeed(cancel_notify(&info, &cancel));
}

#ifdef FAIL_ALLOCATION
/* Maps until an allocation has failed or nobody wants more of it. */
static void starve(const char *at) {
    is_main = may_go_unrecorded = 1;
    failing = atol(at);
    struct pollfd input = {0, POLLIN, 0};
    do whole_add(u"\\\\files01\\starve", NULL, 0, 0);
    while (!has_failed && poll(&input, 1, 1) == 0);
    /* The library goes on without its thread, or without this allocation. */
    for (int i = 0; i < 3; i++) whole_add(u"\\\\files01\\starve", NULL, 0, 0);
}
#endif

/* The stack that a first operation needs, from its caller's frame on: what is no longer painted. */
static unsigned char painted[256 * 1024] __attribute__((aligned(16)));
static ucontext_t outer, inner;
static void first_operation(void) { whole_add(u"\\\\files01\\stack", u"Z:", 0, 0); }
static void stack(void) {
    memset(painted, 0xA5, sizeof painted);
    getcontext(&inner);
    inner.uc_stack.ss_sp = painted;
    inner.uc_stack.ss_size = sizeof painted;
    inner.uc_link = &outer;
    makecontext(&inner, first_operation, 0);
    swapcontext(&outer, &inner);
    size_t untouched = 0;
    while (untouched < sizeof painted && painted[untouched] == 0xA5) untouched++;
    printf("stack: %zu\n", sizeof painted - untouched);
}

/* Whether a thread besides this one is no exporter: it still starts the library. */
static int is_starting(void) {
    int starting = 0;
    DIR *tasks = opendir("/proc/self/task");
    for (struct dirent *task; tasks && (task = readdir(tasks));) {
        char path[300], name[32] = "";
        if (task->d_name[0] == '.' || atoi(task->d_name) == getpid()) continue;
        snprintf(path, sizeof path, "/proc/self/task/%s/comm", task->d_name);
        FILE *file = fopen(path, "r");
        if (!file) continue;
        if (fgets(name, sizeof name, file) && strncmp(name, "mpr-otel-export", 15)) starting = 1;
        fclose(file);
    }
    if (tasks) closedir(tasks);
    return starting;
}

/* One operation, and then nothing: its process ends. What POST has not waited for dies with it, and
 * POST waits for 50 ms at most. On a machine that is so busy, this waits for the rest. */
static void last_add(const WCHAR *remote) {
    struct timespec before, after;
    clock_gettime(CLOCK_MONOTONIC, &before);
    whole_add(remote, NULL, 0, 0);
    clock_gettime(CLOCK_MONOTONIC, &after);
    long waited = (after.tv_sec - before.tv_sec) * 1000000000L + after.tv_nsec - before.tv_nsec;
    while (waited >= 50000000L && is_starting()) wait_ms(1);
}

static void contract(void) {
    whole_add(u"\\\\files01.corp.example\\projects", u"Z:", 0, 20);
    whole_add(u"\\\\old-fs.corp.example\\public", NULL, 53, 30);
    whole_cancel(u"Z:", 0, 10);
}

static void *many(void *count) {
    for (int i = 0; i < *(int *)count; i++) whole_add(u"\\\\files01\\threads", NULL, 0, 0);
    return NULL;
}

static void threads(int how_many, int each) {
    pthread_t ids[256];
    for (int i = 0; i < how_many; i++)
        if (pthread_create(&ids[i], NULL, many, &each)) fail("no thread");
    for (int i = 0; i < how_many; i++) pthread_join(ids[i], NULL);
}

/* A copy of `text` that ends right before a page that cannot be read. */
static const WCHAR *at_the_edge(const WCHAR *text, size_t units) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t room = (units * sizeof(WCHAR) + page - 1) / page * page;
    char *block = mmap(NULL, room + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (block == MAP_FAILED || mprotect(block + room, page, PROT_NONE)) fail("no guarded memory");
    WCHAR *copy = (WCHAR *)(block + room - units * sizeof(WCHAR));
    memcpy(copy, text, units * sizeof(WCHAR));
    return copy;
}

/*
 * Everything that breaks the contract, and names at its edges. What must come of it is counted in
 * tests/hostile.rs: change both together.
 */
static void hostile(void) {
    NOTIFYADD add = an_add(u"\\\\server\\share", NULL, DISK, 0);
    NOTIFYCANCEL cancel = {u"Y:", unmapped, 0, 0};
    NOTIFYINFO info = {NOTIFY_PRE, 0, NULL};

    /* NULL for either pointer: malformed x 6. */
    must_succeed(add_notify(NULL, NULL));
    must_succeed(add_notify(&info, NULL));
    must_succeed(add_notify(NULL, &add));
    must_succeed(cancel_notify(NULL, NULL));
    must_succeed(cancel_notify(&info, NULL));
    must_succeed(cancel_notify(NULL, &cancel));
    /* Unknown dwNotifyStatus: malformed x 6. */
    const DWORD unknown[] = {0, 3, 0xFFFFFFFF};
    for (int i = 0; i < 3; i++) {
        info.dwNotifyStatus = unknown[i];
        must_succeed(add_notify(&info, &add));
        must_succeed(cancel_notify(&info, &cancel));
    }
    if (info.lpContext) fail("a context for a call that is no PRE");

    /* POST without PRE: unmatched x 2; and with 100,000 contexts by chance: unmatched each. */
    post_add(&add, NULL, 0);
    info.dwNotifyStatus = NOTIFY_POST;
    must_succeed(cancel_notify(&info, &cancel));
    uint64_t chance = 88172645463325252ULL;
    for (int i = 0; i < 100000; i++) {
        chance ^= chance << 13, chance ^= chance >> 7, chance ^= chance << 17;
        /* Half of them small, where slots are. */
        post_add(&add, (void *)(uintptr_t)(i % 2 ? chance : chance % 4096), 0);
    }

    /* POST twice: one span, unmatched x 1. An old handle: unmatched x 1. */
    void *context = pre_add(&add);
    post_add(&add, context, 0);
    post_add(&add, context, 5);
    void *next = pre_add(&add);
    post_add(&add, context, 5);
    /* Its handle through the other function: unmatched x 1; then rightly: one span. */
    NOTIFYINFO crossed = {NOTIFY_POST, 0, next};
    must_succeed(cancel_notify(&crossed, &cancel));
    post_add(&add, next, 67);

    /* Names: NULL, empty, 40,000 units, ill-formed UTF-16, at the edge of readable memory. */
    whole_add(NULL, NULL, 0, 0);
    whole_add(u"", u"", 0, 0);
    WCHAR *vast = malloc(40001 * sizeof(WCHAR));
    for (int i = 0; i < 40000; i++) vast[i] = u'x';
    vast[0] = vast[1] = vast[8] = u'\\';
    vast[40000] = 0;
    whole_add(vast, vast, 0, 0);
    free(vast);
    const WCHAR broken[] = {u'\\', u'\\', 0xD800, u'a', 0xDC00, u'\\', 0xDFFF, u's', 0};
    whole_add(broken, NULL, 0, 0);
    whole_add(at_the_edge(u"\\\\edge\\share", 13), at_the_edge(u"X:", 3), 0, 0);
    whole_cancel(NULL, 0, 0);
    /* Not aligned. */
    char bytes[64];
    memcpy(bytes + 1, u"\\\\odd\\share", 24);
    whole_add((const WCHAR *)(bytes + 1), NULL, 0, 0);

    /* Unknown flags and types. */
    add = an_add(u"\\\\server\\unknown", NULL, 0x12345678, 0xFFFFFFFF);
    post_add(&add, pre_add(&add), 0xFFFFFFFF);

    /* 64 threads at once: 160 operations fill the table. */
    threads(64, 2);
}

#ifdef COUNT_ALLOCATIONS
static void allocate_nothing(void) {
    long before = allocations;
    contract();
    if (allocations == before) fail("the first operation allocates nothing: is anything counted?");
    before = allocations;
    for (int i = 0; i < 60; i++) {
        whole_add(u"\\\\files01\\again", u"Y:", i % 2 ? 53 : 0, 0);
        whole_cancel(u"Y:", 0, 0);
    }
    if (allocations != before) fail("an operation allocated memory on its caller's thread");
}
#endif

int main(int count, char **words) {
    if (count < 3) return 2;
    const char *mode = words[2];
    /* What any program takes. */
    if (!strcmp(mode, "bare")) return 0;
    unmapped = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    void *library;
    load(words[1], &library);

    if (!strcmp(mode, "contract")) contract();
#ifdef COUNT_ALLOCATIONS
    else if (!strcmp(mode, "allocations")) allocate_nothing();
#endif
#ifdef FAIL_ALLOCATION
    else if (!strcmp(mode, "starve")) { starve(words[3]); puts("played"); return 0; }
#endif
    else if (!strcmp(mode, "hostile")) hostile();
    else if (!strcmp(mode, "asked")) {
        /* An operation for each line of input. */
        may_go_unrecorded = 1;
        for (int letter; (letter = getchar()) != EOF;)
            if (letter == '\n') {
                NOTIFYADD add = an_add(u"\\\\files01\\asked", NULL, DISK, 0);
                void *context = pre_add(&add);
                if (context) post_add(&add, context, 0);
                puts(context ? "recorded" : "not recorded");
                fflush(stdout);
            }
        return 0;
    } else if (!strcmp(mode, "late")) {
        /* One operation that begins at a line of input and ends at the next, once the library has started. */
        whole_add(u"\\\\files01\\before", NULL, 0, 0);
        puts("begun");
        fflush(stdout);
        getchar();
        NOTIFYADD add = an_add(u"\\\\files01\\late", NULL, DISK, 0);
        void *context = pre_add(&add);
        puts("open");
        fflush(stdout);
        getchar();
        post_add(&add, context, 0);
        whole_add(u"\\\\files01\\after", NULL, 0, 0);
        puts("ended");
        fflush(stdout);
        while (getchar() != EOF) {}
        return 0;
    } else if (!strcmp(mode, "stack")) stack();
    else if (!strcmp(mode, "threads")) threads(8, 16);
    /* The bench's: version 0.1 reads a provider that is not promised. */
    else if (!strcmp(mode, "short")) {
        unmapped = NULL;
        whole_add(u"\\\\files01\\short", NULL, 0, 0);
        return 0;
    }
    else if (!strcmp(mode, "exit")) { last_add(u"\\\\files01\\exit"); return 0; }
    else if (!strcmp(mode, "kill")) { last_add(u"\\\\files01\\kill"); raise(SIGKILL); }
    else if (!strcmp(mode, "fill")) {
        /* More operations at once than the table has slots, once the library has started. */
        whole_add(u"\\\\files01\\first", NULL, 0, 0);
        getchar();
        NOTIFYADD add = an_add(u"\\\\files01\\fill", NULL, DISK, 0);
        int without = 0;
        for (int i = 0; i < 1500; i++) without += pre_add(&add) == NULL;
        printf("without context: %d\n", without);
    } else if (!strcmp(mode, "reload")) {
        for (int i = 0; i < 100; i++) {
            whole_add(u"\\\\files01\\reload", NULL, 0, 0);
            dlclose(library);
            load(words[1], &library);
        }
        dlclose(library);
    } else if (!strcmp(mode, "clock")) {
        NOTIFYADD add = an_add(u"\\\\files01\\clock", NULL, DISK, 0);
        void *context = pre_add(&add);
        set_back = 3600;
        wait_ms(50);
        post_add(&add, context, 0);
        whole_add(u"\\\\files01\\later", NULL, 0, 0);
    } else return 2;

    puts("played");
    fflush(stdout);
    while (getchar() != EOF) {}
    return 0;
}
