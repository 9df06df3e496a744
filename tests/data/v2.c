/* The host that left v2.ledger.gz behind; README.md says how it was run. It plays MPR's side of
 * the contract until at least one operation is in each phase, and then kills itself. A slot stays
 * claimed or completing because the library copies a name in that phase: this name ends at a page
 * that cannot be read, and the thread that faults there never goes on. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <netinet/in.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

typedef struct { uint32_t notify_status, operation_status; void *context; } Info;
typedef struct { void *owner; uint32_t scope, type, display_type, usage;
                 const uint16_t *local, *remote, *comment, *provider; uint32_t flags; } Add;
typedef struct { const uint16_t *name, *provider; uint32_t flags; int32_t force; } Cancel;
enum { PRE = 1, POST = 2, DISK = 1, PRINT = 2 };

static uint32_t (*add_notify)(Info *, Add *), (*cancel_notify)(Info *, Cancel *);
static const uint16_t SMB[] = u"Microsoft Windows Network";
static int collector;
static sem_t faulted;

static void load(const char *path) {
    void *library = dlopen(path, RTLD_NOW);
    *(void **)&add_notify = dlsym(library, "AddConnectNotify");
    *(void **)&cancel_notify = dlsym(library, "CancelConnectNotify");
}

static Info begin(const uint16_t *remote, const uint16_t *local, uint32_t type, uint32_t flags) {
    Info info = {PRE, 0, NULL};
    add_notify(&info, &(Add){.type = type, .local = local, .remote = remote, .flags = flags});
    return info;
}

static void end(Info info, uint32_t status) {
    add_notify(&(Info){POST, status, info.context}, &(Add){0});
}

static void cancel(Cancel cancel, uint32_t status) {
    Info info = {PRE, 0, NULL};
    cancel_notify(&info, &cancel);
    cancel_notify(&(Info){POST, status, info.context}, &cancel);
}

/* One operation, the collector's answer to its span, and time to take the answer in. */
static void *exported(void *answer) {
    char request[4096];
    end(begin(u"\\\\files.corp.example\\exported", NULL, DISK, 0), 0);
    int peer = accept(collector, NULL, NULL);
    dprintf(peer, "HTTP/1.1 %s\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", (char *)answer);
    shutdown(peer, SHUT_WR);
    while (read(peer, request, sizeof request) > 0) {}
    return close(peer), usleep(100000), NULL;
}

static void *used(void *answer) { return exported("200 OK"), exported("200 OK"), exported(answer); }

/* The name without its terminator, in front of a page that cannot be read. */
static const uint16_t *cut_off(const uint16_t *name, size_t bytes) {
    char *place = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    mprotect(place + 4096, 4096, PROT_NONE);
    return memcpy(place + 4096 - bytes, name, bytes);
}

static void stay(int signal) { for (sem_post(&faulted);; (void)signal) pause(); }

static void *claimed(void *name) { return begin(cut_off(name, 56), u"C:", DISK, 0).context; }

/* The provider's name is read in POST of a cancel that succeeded. */
static void *completing(void *name) {
    return cancel((Cancel){name, cut_off(SMB, sizeof SMB - 2), 1, 0}, 0), NULL;
}

static void run(void *(*work)(void *), const void *argument, int to_its_end) {
    pthread_t thread;
    pthread_create(&thread, NULL, work, (void *)argument);
    to_its_end ? pthread_join(thread, NULL) : sem_wait(&faulted);
}

int main(int count, char **arguments) {
    struct sockaddr_in here = {AF_INET, htons(14318), {htonl(INADDR_LOOPBACK)}, {0}};
    uint16_t vast[300] = u"\\\\files.corp.example\\";
    collector = socket(AF_INET, SOCK_STREAM, 0);
    setsockopt(collector, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
    if (count != 2 || bind(collector, (void *)&here, sizeof here) || listen(collector, 1)) return 1;
    load(arguments[1]);
    sem_init(&faulted, 0, 0);
    sigaction(SIGSEGV, &(struct sigaction){.sa_handler = stay}, NULL);
    run(used, "400 Bad Request", 1);
    exported("200 OK");
    close(collector);
    for (int i = 0; i < 4; i++) end((Info){0}, 0);
    for (int i = 0; i < 5; i++) cancel_notify(NULL, NULL);
    end(begin(u"\\\\files.corp.example\\projects", u"Z:", DISK, 1), 0);
    end(begin(u"\\\\old-fs.corp.example\\printer", u"LPT1:", PRINT, 0x10), 53);
    end(begin(u"\\\\files.corp.example\\prompt", NULL, 0, 8), 1223);
    cancel((Cancel){u"Z:", SMB, 1, 1}, 0);
    cancel((Cancel){u"\\\\files.corp.example\\in-use", NULL, 0, 0}, 2401);
    for (size_t i = 21; i < 299; i++) vast[i] = (uint16_t)('a' + i % 26);
    end(begin(vast, u"Y:", DISK, 0), 0);
    begin(u"\\\\files.corp.example\\unfinished", u"U:", DISK, 2);
    usleep(1500000); /* five times MPR_OTEL_UNFINISHED_AFTER_MS */
    run(claimed, u"\\\\files.corp.example\\claimed", 0);
    run(completing, u"\\\\files.corp.example\\completing", 0);
    begin(u"\\\\files.corp.example\\open", u"O:", DISK, 0);
    raise(SIGKILL);
}
