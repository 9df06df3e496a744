/* A user who puts into the ledger folder what no host puts there.
 *
 * neighbour USER FOLDER TARGET: makes the files as USER, a uid without a name, says on standard
 * output which of them it has made, and keeps the leases until its standard input ends.
 */

#define _GNU_SOURCE
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <unistd.h>

static void made(const char *what, int failed) {
    if (!failed)
        printf("%s ", what);
}

/* A file of this user's with a lease, which delays everybody else who opens it. */
static int leased(const char *name, int kind) {
    int file = open(name, O_CREAT | O_EXCL | O_RDWR, 0666);
    if (file < 0 || fchmod(file, 0666) < 0 || ftruncate(file, 131072) < 0)
        return -1;
    if (kind == F_RDLCK) {
        close(file);
        file = open(name, O_RDONLY);
    }
    return fcntl(file, F_SETLEASE, kind);
}

static int listening(const char *name) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%s", name);
    int listener = socket(AF_UNIX, SOCK_STREAM, 0);
    return bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 1);
}

int main(int count, char **arguments) {
    if (count != 4 || chdir(arguments[2]))
        return 2;
    const char *target = arguments[3];
    /* As root: some systems let every user do the first, none the second. */
    made("second-name", link(target, "4-0000000000000001.ledger"));
    made("device", mknod("4-0000000000000002.ledger", S_IFCHR | 0666, makedev(1, 3)));
    uid_t user = (uid_t)atoi(arguments[1]);
    if (setgroups(0, NULL) || setgid(user) || setuid(user))
        return 3;
    umask(0);
    /* The signal that a lease is asked for would end this program. */
    signal(SIGIO, SIG_IGN);
    made("link", symlink(target, "4-0000000000000003.ledger"));
    made("pipe", mkfifo("4-0000000000000004.ledger", 0666));
    made("directory", mkdir("4-0000000000000005.ledger", 0777));
    made("socket", listening("4-0000000000000006.ledger"));
    made("write-lease", leased("4-0000000000000007.ledger", F_WRLCK));
    made("read-lease", leased("4-0000000000000008.ledger", F_RDLCK));
    made("link-to-nothing", symlink("/nowhere/at/all", "4-0000000000000009.ledger"));
    made("link-to-itself", symlink("4-000000000000000a.ledger", "4-000000000000000a.ledger"));
    printf("\n");
    fflush(stdout);
    while (getchar() != EOF) {
    }
    return 0;
}
