/* What a process finds when it is run in a container: prints JSON. Compiled statically by the tests. */
#define _GNU_SOURCE
#include <dirent.h>
#include <stddef.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/sysmacros.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/mount.h>
#include <unistd.h>

extern char **environ;
static const char *separator = "";

static void quoted(const char *text) {
    putchar('"');
    for (const unsigned char *c = (const unsigned char *)text; *c; c++) {
        if (*c == '"' || *c == '\\') printf("\\%c", *c);
        else if (*c < 32 || *c > 126) printf("\\u%04x", *c);
        else putchar(*c);
    }
    putchar('"');
}

static void field(const char *name) {
    printf("%s\n", separator);
    separator = ",";
    quoted(name);
    printf(": ");
}

static void number(const char *name, long value) {
    field(name);
    printf("%ld", value);
}

/* The answer of a call: 0 when it was allowed, else the error number. */
static void answer(const char *name, long result) { number(name, result < 0 ? errno : 0); }

static void fds(void) {
    DIR *dir = opendir("/proc/self/fd");
    const char *comma = "";
    field("fds");
    putchar('[');
    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        int fd = atoi(entry->d_name);
        if (entry->d_name[0] == '.' || fd == dirfd(dir)) continue;
        printf("%s%d", comma, fd);
        comma = ",";
    }
    putchar(']');
}

static void status(void) {
    char line[4096];
    FILE *file = fopen("/proc/self/status", "r");
    while (file && fgets(line, sizeof line, file)) {
        char *colon = strchr(line, ':');
        if (!colon) continue;
        *colon = 0;
        if (strncmp(line, "Cap", 3) && strcmp(line, "NoNewPrivs") && strcmp(line, "Seccomp") && strcmp(line, "Groups")) continue;
        char *value = colon + 1 + strspn(colon + 1, " \t");
        value[strcspn(value, "\n")] = 0;
        field(line);
        quoted(value);
    }
}

static void report(void) {
    char cwd[4096] = "";
    fds();
    status();
    number("sid", getsid(0));
    number("pid", getpid());
    number("uid", getuid());
    number("gid", getgid());
    field("cwd");
    quoted(getcwd(cwd, sizeof cwd) ? cwd : "");
    field("env");
    const char *comma = "";
    putchar('[');
    for (char **entry = environ; *entry; entry++) {
        printf("%s", comma);
        quoted(*entry);
        comma = ",";
    }
    putchar(']');
}

struct clone_arguments { unsigned long long flags, rest[10]; };

static void calls(void) {
    char attr[128] = {0};
    struct clone_arguments clone3 = {.flags = CLONE_NEWUSER};
    answer("af_alg", socket(38, SOCK_SEQPACKET, 0));
    answer("af_vsock", socket(40, SOCK_STREAM, 0));
    answer("af_alg_high", syscall(SYS_socket, 0x100000026L, SOCK_SEQPACKET, 0L));
    answer("af_inet", socket(AF_INET, SOCK_STREAM, 0));
    answer("keyctl", syscall(SYS_keyctl, 0, -3, 0));
    answer("add_key", syscall(SYS_add_key, "user", "x", "y", 1, -3));
    answer("userfaultfd", syscall(SYS_userfaultfd, 0));
    answer("bpf", syscall(SYS_bpf, 0, attr, sizeof attr));
    answer("perf_event_open", syscall(SYS_perf_event_open, attr, 0, -1, -1, 0));
    answer("io_uring_setup", syscall(425, 1, attr));
    answer("mount", mount("x", "/tmp", "tmpfs", 0, ""));
    answer("cgroup", mount("x", "/tmp", "cgroup", 0, "memory"));
    long child = syscall(435, &clone3, sizeof clone3);
    if (child == 0) _exit(0); /* allowed: the copy must not answer as well */
    answer("clone3", child);
    answer("unshare", unshare(CLONE_NEWUSER));
#ifdef __x86_64__
    long arguments[3] = {0};
    int result;
    /* 32-bit pointers are needed: the arguments lie below 4 GiB only in a static, non-PIE program. */
    static int family[3] = {38, SOCK_SEQPACKET, 0};
    __asm__ volatile("int $0x80" : "=a"(result) : "a"(102), "b"(1), "c"((int)(long)family) : "memory");
    errno = -result;
    answer("socketcall_32", result < 0 ? -1 : 0);
    __asm__ volatile("int $0x80" : "=a"(result) : "a"(310), "b"(CLONE_NEWUSER) : "memory");
    errno = -result;
    answer("unshare_32", result < 0 ? -1 : 0);
    /* Some filters end whoever calls by a foreign ABI, which refuses it as well. */
    pid_t caller = fork();
    if (caller == 0) _exit(syscall(0x40000000 | SYS_getpid) < 0 ? errno : 0);
    int status = 0;
    waitpid(caller, &status, 0);
    errno = WIFEXITED(status) ? WEXITSTATUS(status) : ENOSYS;
    answer("x32", errno ? -1 : 0);
    (void)arguments;
#endif
}

static void typing(void) {
    const char *names[] = {"0", "1", "2", "tty"};
    for (int i = 0; i < 4; i++) {
        int fd = i < 3 ? i : open("/dev/tty", O_RDWR);
        char name[32], letter = '#';
        snprintf(name, sizeof name, "tiocsti_%s", names[i]);
        answer(name, ioctl(fd, TIOCSTI, &letter));
        letter = 3;
        snprintf(name, sizeof name, "tioclinux_%s", names[i]);
        answer(name, ioctl(fd, 0x541c, &letter));
    }
}

/* Every program that a process of /proc runs, and every handle of it, opened for writing. */
static void others(void) {
    long opened = 0, attached = 0;
    for (int round = 0; round < 50; round++) {
        DIR *dir = opendir("/proc");
        for (struct dirent *entry; dir && (entry = readdir(dir));) {
            int pid = atoi(entry->d_name);
            char path[64];
            const char *names[] = {"exe", "mem", "environ", "root", "fd/3"};
            if (pid <= 0 || pid == getpid()) continue;
            for (int i = 0; i < 5; i++) {
                snprintf(path, sizeof path, "/proc/%d/%s", pid, names[i]);
                int fd = open(path, i < 2 ? O_WRONLY : O_RDONLY);
                if (fd >= 0) opened++, close(fd);
            }
            if (ptrace(PTRACE_ATTACH, pid, 0, 0) == 0) attached++, ptrace(PTRACE_DETACH, pid, 0, 0);
        }
        if (dir) closedir(dir);
    }
    number("opened", opened);
    number("attached", attached);
}

static void walk(const char *top, int depth, const char **comma) {
    DIR *dir = opendir(top);
    for (struct dirent *entry; dir && depth && (entry = readdir(dir));) {
        char path[4096];
        struct stat stat;
        if (entry->d_name[0] == '.' || (!strcmp(top, "/proc") && (atoi(entry->d_name) || strstr(entry->d_name, "self")))) continue;
        snprintf(path, sizeof path, "%s/%s", top, entry->d_name);
        if (lstat(path, &stat)) continue;
        if (S_ISDIR(stat.st_mode)) {
            walk(path, depth - 1, comma);
        } else if (S_ISREG(stat.st_mode)) {
            int fd = open(path, O_WRONLY | O_NONBLOCK);
            if (fd < 0) continue;
            close(fd);
            printf("%s", *comma);
            quoted(path);
            *comma = ",";
        }
    }
    if (dir) closedir(dir);
}

static void writable(void) {
    const char *comma = "";
    field("writable");
    putchar('[');
    walk("/proc", 8, &comma);
    walk("/sys", 12, &comma);
    putchar(']');
}

static void file(const char *path) {
    struct stat stat;
    int found = lstat(path, &stat) == 0;
    field(path);
    if (!found) printf("null");
    else printf("{\"mode\": %u, \"device\": \"%u:%u\", \"size\": %ld, \"links\": %ld}", stat.st_mode, major(stat.st_rdev), minor(stat.st_rdev),
                (long)stat.st_size, (long)stat.st_nlink);
}

static void abstract(const char *name) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t length = strlen(name);
    memcpy(address.sun_path + 1, name, length);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    answer("abstract", connect(fd, (struct sockaddr *)&address, offsetof(struct sockaddr_un, sun_path) + 1 + length));
}

int main(int argc, char **argv) {
    const char *what = argc > 1 ? argv[1] : "report";
    putchar('{');
    if (!strcmp(what, "calls")) calls();
    else if (!strcmp(what, "typing")) typing();
    else if (!strcmp(what, "others")) others();
    else if (!strcmp(what, "writable")) writable();
    else if (!strcmp(what, "abstract") && argc > 2) abstract(argv[2]);
    else if (!strcmp(what, "files")) for (int i = 2; i < argc; i++) file(argv[i]);
    else report();
    puts("\n}");
    return 0;
}
