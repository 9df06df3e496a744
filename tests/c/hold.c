/* Stops one thread of a process for good, as a file system that never answers would: the thread called
 * words[2] of the process words[1]. Says so, and stays until the process is gone. */
#define _GNU_SOURCE
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>

int main(int count, char **words) {
    if (count != 3) return 2;
    char path[600], name[32];
    snprintf(path, sizeof path, "/proc/%s/task", words[1]);
    DIR *tasks = opendir(path);
    for (struct dirent *task; tasks && (task = readdir(tasks));) {
        snprintf(path, sizeof path, "/proc/%s/task/%s/comm", words[1], task->d_name);
        FILE *file = fopen(path, "r");
        if (!file) continue;
        int found = fgets(name, sizeof name, file) && !strncmp(name, words[2], strlen(words[2]));
        fclose(file);
        if (!found) continue;
        int thread = atoi(task->d_name);
        if (ptrace(PTRACE_SEIZE, thread, 0, 0) || ptrace(PTRACE_INTERRUPT, thread, 0, 0)) return 3;
        waitpid(thread, NULL, __WALL);
        puts("held");
        fflush(stdout);
        while (waitpid(-1, NULL, __WALL) > 0) {
        }
        return 0;
    }
    return 4;
}
