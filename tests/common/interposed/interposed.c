/* Stands between a program and the C library's file calls (LD_PRELOAD), below one folder.
 *
 * LINLI_DISK_ROOT=DIR     the folder, absolute; nothing outside it is touched or seen
 * LINLI_DISK_TRACE=FILE   appends each change of a file or folder to FILE, in the order in which they happened
 * LINLI_DISK_FAULTS=FILE  a control block (struct control) that lets calls fail while it says so
 * LINLI_DNS_HANGS=FILE    while FILE exists, getaddrinfo doesn't answer
 *
 * Two programs may append to the same trace: a record is one write to a file opened with O_APPEND. Within
 * one program a lock is held over the call and its record, so their order is the disk's. '-shm' files are
 * memory that SQLite shares between processes, and not part of the trace.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netdb.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum op { CREATE = 1, WRITE, TRUNCATE, SYNC, SYNC_DIR, RENAME, UNLINK, MKDIR, RMDIR };

/* A record: this header, then both paths without a terminating zero, then the data. Little-endian hosts. */
struct record {
  uint32_t op;
  uint32_t path_len;
  uint32_t to_len;
  uint32_t data_len;
  uint64_t ino;
  int64_t offset; /* of a write; the new length of a truncation */
};

/* Kinds of calls that can fail, a bit each. */
enum kind { OPEN_READ = 1, OPEN_WRITE = 2, READ = 4, WRITING = 8, TRUNCATING = 16, SYNCING = 32, NAMING = 64 };

/* Shared with whoever tests. Calls are counted while `kinds` names them; those numbered from `from` up to
 * but without `until` fail with `error`. */
struct control {
  _Atomic uint64_t calls;
  _Atomic uint64_t from;
  _Atomic uint64_t until;
  _Atomic uint64_t hits;
  _Atomic uint32_t error;
  _Atomic uint32_t kinds;
};

/* In place of an error: the call doesn't come back until it is healed, and then succeeds. */
enum { HANGS = 4095 };

enum { FDS = 65536 };
struct entry {
  uint64_t ino;
  uint8_t seen; /* 1 a file, 2 a folder, 3 a '-shm' file: can fail, isn't recorded */
  uint8_t append;
};
static struct entry fds[FDS];
static char root[PATH_MAX];
static size_t root_len;
static int trace = -1;
static struct control *control;
static const char *dns_hangs;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

#define REAL(name) ((typeof(&name))real_##name())
#define FIND(name)                                             \
  static void *real_##name(void) {                             \
    static _Atomic(void *) found;                              \
    void *it = atomic_load(&found);                            \
    if (!it) atomic_store(&found, it = dlsym(RTLD_NEXT, #name)); \
    return it;                                                 \
  }

FIND(open) FIND(close) FIND(read) FIND(pread) FIND(write) FIND(pwrite) FIND(writev) FIND(ftruncate)
FIND(fsync) FIND(fdatasync) FIND(rename) FIND(unlink) FIND(mkdir) FIND(rmdir) FIND(posix_fallocate)
FIND(mmap) FIND(getaddrinfo)

static void give_up(const char *why) {
  dprintf(2, "interposed: %s\n", why);
  abort();
}

__attribute__((constructor)) static void begin(void) {
  const char *folder = getenv("LINLI_DISK_ROOT");
  const char *trace_file = getenv("LINLI_DISK_TRACE");
  const char *faults_file = getenv("LINLI_DISK_FAULTS");
  dns_hangs = getenv("LINLI_DNS_HANGS");
  if (!folder) return;
  root_len = strlen(folder);
  if (root_len == 0 || root_len >= sizeof root || folder[0] != '/') give_up("LINLI_DISK_ROOT must be absolute");
  memcpy(root, folder, root_len + 1);
  if (trace_file) {
    trace = REAL(open)(trace_file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (trace < 0) give_up("LINLI_DISK_TRACE can't be opened");
  }
  if (faults_file) {
    int fd = REAL(open)(faults_file, O_RDWR | O_CLOEXEC);
    if (fd < 0) give_up("LINLI_DISK_FAULTS can't be opened");
    control = REAL(mmap)(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (control == MAP_FAILED) give_up("LINLI_DISK_FAULTS can't be mapped");
    REAL(close)(fd);
  }
}

static int below_root(const char *path) {
  return root_len && path && strncmp(path, root, root_len) == 0 && (path[root_len] == '/' || path[root_len] == 0);
}

static int ends_with(const char *path, const char *end) {
  size_t a = strlen(path), b = strlen(end);
  return a >= b && strcmp(path + a - b, end) == 0;
}

static struct entry *entry_of(int fd) {
  return fd >= 0 && fd < FDS && fds[fd].seen ? &fds[fd] : NULL;
}

/* Whether this call is to fail; sets errno. */
static int fails(uint32_t kind) {
  if (!control || !(atomic_load(&control->kinds) & kind)) return 0;
  uint64_t number = atomic_fetch_add(&control->calls, 1);
  if (number < atomic_load(&control->from) || number >= atomic_load(&control->until)) return 0;
  atomic_fetch_add(&control->hits, 1);
  int error = (int)atomic_load(&control->error);
  while (error == HANGS && number < atomic_load(&control->until)) usleep(5000);
  errno = error;
  return error != HANGS;
}

static void note(enum op op, uint64_t ino, int64_t offset, const char *path, const char *to, const void *data,
                 size_t data_len) {
  if (trace < 0) return;
  struct record record = {op, path ? strlen(path) : 0, to ? strlen(to) : 0, data_len, ino, offset};
  struct iovec parts[4] = {{&record, sizeof record},
                           {(void *)path, record.path_len},
                           {(void *)to, record.to_len},
                           {(void *)data, data_len}};
  size_t whole = sizeof record + record.path_len + record.to_len + data_len;
  if (REAL(writev)(trace, parts, 4) != (ssize_t)whole) give_up("the trace can't be written");
}

static void begin_call(void) {
  if (trace >= 0) pthread_mutex_lock(&lock);
}

static void end_call(void) {
  int keep = errno;
  if (trace >= 0) pthread_mutex_unlock(&lock);
  errno = keep;
}

static int opened(const char *path, int flags, mode_t mode) {
  if (!below_root(path)) return REAL(open)(path, flags, mode);
  int writes = (flags & O_ACCMODE) != O_RDONLY || (flags & (O_CREAT | O_TRUNC));
  if (fails(writes ? OPEN_WRITE : OPEN_READ)) return -1;
  begin_call();
  struct stat before, now;
  int was_there = stat(path, &before) == 0;
  int fd = REAL(open)(path, flags, mode);
  if (fd >= 0) {
    if (fd >= FDS || fstat(fd, &now) != 0) give_up("a file descriptor can't be followed");
    int shm = ends_with(path, "-shm");
    fds[fd] = (struct entry){now.st_ino, shm ? 3 : S_ISDIR(now.st_mode) ? 2 : 1, (flags & O_APPEND) != 0};
    if (!shm && !was_there && (flags & O_CREAT)) note(CREATE, now.st_ino, 0, path, NULL, NULL, 0);
    if (!shm && was_there && (flags & O_TRUNC) && before.st_size > 0) note(TRUNCATE, now.st_ino, 0, NULL, NULL, NULL, 0);
  }
  end_call();
  return fd;
}

#define MODE_OF(flags)                  \
  mode_t mode = 0;                      \
  if ((flags) & (O_CREAT | O_TMPFILE)) { \
    va_list rest;                       \
    va_start(rest, flags);              \
    mode = va_arg(rest, mode_t);        \
    va_end(rest);                       \
  }

int open(const char *path, int flags, ...) {
  MODE_OF(flags)
  return opened(path, flags, mode);
}

int open64(const char *path, int flags, ...) {
  MODE_OF(flags)
  return opened(path, flags | O_LARGEFILE, mode);
}

int openat(int at, const char *path, int flags, ...) {
  MODE_OF(flags)
  if (below_root(path)) return opened(path, flags, mode);
  return (int)syscall(SYS_openat, at, path, flags, mode);
}

int openat64(int at, const char *path, int flags, ...) {
  MODE_OF(flags)
  return openat(at, path, flags, mode);
}

int close(int fd) {
  if (fd >= 0 && fd < FDS) fds[fd].seen = 0;
  return REAL(close)(fd);
}

ssize_t read(int fd, void *to, size_t len) {
  if (entry_of(fd) && fails(READ)) return -1;
  return REAL(read)(fd, to, len);
}

ssize_t pread(int fd, void *to, size_t len, off_t offset) {
  if (entry_of(fd) && fails(READ)) return -1;
  return REAL(pread)(fd, to, len, offset);
}

ssize_t pread64(int fd, void *to, size_t len, off_t offset) { return pread(fd, to, len, offset); }

static off_t position(int fd, const struct entry *entry) {
  struct stat now;
  if (entry->append) return fstat(fd, &now) == 0 ? now.st_size : 0;
  return lseek(fd, 0, SEEK_CUR);
}

ssize_t write(int fd, const void *from, size_t len) {
  struct entry *entry = entry_of(fd);
  if (!entry) return REAL(write)(fd, from, len);
  if (fails(WRITING)) return -1;
  begin_call();
  off_t offset = position(fd, entry);
  ssize_t written = REAL(write)(fd, from, len);
  if (written > 0 && entry->seen == 1) note(WRITE, entry->ino, offset, NULL, NULL, from, written);
  end_call();
  return written;
}

ssize_t pwrite(int fd, const void *from, size_t len, off_t offset) {
  struct entry *entry = entry_of(fd);
  if (!entry) return REAL(pwrite)(fd, from, len, offset);
  if (fails(WRITING)) return -1;
  begin_call();
  ssize_t written = REAL(pwrite)(fd, from, len, offset);
  if (written > 0 && entry->seen == 1) note(WRITE, entry->ino, offset, NULL, NULL, from, written);
  end_call();
  return written;
}

ssize_t pwrite64(int fd, const void *from, size_t len, off_t offset) { return pwrite(fd, from, len, offset); }

ssize_t writev(int fd, const struct iovec *parts, int count) {
  struct entry *entry = entry_of(fd);
  if (!entry) return REAL(writev)(fd, parts, count);
  ssize_t whole = 0;
  for (int i = 0; i < count; i++) {
    ssize_t written = write(fd, parts[i].iov_base, parts[i].iov_len);
    if (written < 0) return whole ? whole : written;
    whole += written;
    if ((size_t)written < parts[i].iov_len) break;
  }
  return whole;
}

int ftruncate(int fd, off_t len) {
  struct entry *entry = entry_of(fd);
  if (!entry) return REAL(ftruncate)(fd, len);
  if (fails(TRUNCATING)) return -1;
  begin_call();
  int done = REAL(ftruncate)(fd, len);
  if (done == 0 && entry->seen == 1) note(TRUNCATE, entry->ino, len, NULL, NULL, NULL, 0);
  end_call();
  return done;
}

int ftruncate64(int fd, off_t len) { return ftruncate(fd, len); }

int posix_fallocate(int fd, off_t offset, off_t len) {
  struct entry *entry = entry_of(fd);
  if (!entry) return REAL(posix_fallocate)(fd, offset, len);
  if (fails(TRUNCATING)) return errno;
  if (trace >= 0 && entry->seen == 1) give_up("posix_fallocate isn't modelled");
  return REAL(posix_fallocate)(fd, offset, len);
}

int posix_fallocate64(int fd, off_t offset, off_t len) { return posix_fallocate(fd, offset, len); }

static int synced(int fd, int (*sync_it)(int)) {
  struct entry *entry = entry_of(fd);
  if (!entry) return sync_it(fd);
  if (fails(SYNCING)) return -1;
  begin_call();
  int done = sync_it(fd);
  if (done == 0 && entry->seen != 3) note(entry->seen == 2 ? SYNC_DIR : SYNC, entry->ino, 0, NULL, NULL, NULL, 0);
  end_call();
  return done;
}

int fsync(int fd) { return synced(fd, REAL(fsync)); }

int fdatasync(int fd) { return synced(fd, REAL(fdatasync)); }

int rename(const char *from, const char *to) {
  if (!below_root(from) && !below_root(to)) return REAL(rename)(from, to);
  if (fails(NAMING)) return -1;
  begin_call();
  int done = REAL(rename)(from, to);
  if (done == 0) note(RENAME, 0, 0, from, to, NULL, 0);
  end_call();
  return done;
}

static int named(const char *path, enum op op, int (*do_it)(const char *)) {
  if (!below_root(path)) return do_it(path);
  if (fails(NAMING)) return -1;
  begin_call();
  int done = do_it(path);
  if (done == 0 && !ends_with(path, "-shm")) note(op, 0, 0, path, NULL, NULL, 0);
  end_call();
  return done;
}

int unlink(const char *path) { return named(path, UNLINK, REAL(unlink)); }

int rmdir(const char *path) { return named(path, RMDIR, REAL(rmdir)); }

int mkdir(const char *path, mode_t mode) {
  if (!below_root(path)) return REAL(mkdir)(path, mode);
  if (fails(NAMING)) return -1;
  begin_call();
  struct stat now;
  int done = REAL(mkdir)(path, mode);
  if (done == 0) note(MKDIR, stat(path, &now) == 0 ? now.st_ino : 0, 0, path, NULL, NULL, 0);
  end_call();
  return done;
}

void *mmap(void *at, size_t len, int prot, int flags, int fd, off_t offset) {
  struct entry *entry = entry_of(fd);
  if (trace >= 0 && entry && entry->seen == 1 && (flags & MAP_SHARED) && (prot & PROT_WRITE))
    give_up("a file written through memory isn't modelled");
  return REAL(mmap)(at, len, prot, flags, fd, offset);
}

void *mmap64(void *at, size_t len, int prot, int flags, int fd, off_t offset) {
  return mmap(at, len, prot, flags, fd, offset);
}

int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **found) {
  while (dns_hangs && access(dns_hangs, F_OK) == 0) usleep(20000);
  return REAL(getaddrinfo)(node, service, hints, found);
}
