/* Writes down what a process asks of the file system below one directory, so that a power cut can be played later.
 *
 * Loaded before the C library (LD_PRELOAD), it stands between a process and the calls that change files, and makes them
 * itself, as system calls. Below the
 * directory ROPEWALK_JOURNAL_ROOT each of them is made and then appended to the file ROPEWALK_JOURNAL, whole data
 * included, under one lock: the order of the records is the order in which the calls took effect. What the process
 * writes to its standard output is a record too, so that the journal tells what had been promised at any moment.
 *
 * Syncs are written down and not made: whether they count is decided when the power cut is played. A sync vouches for
 * what had been written when it began, so it names the record that came next then.
 *
 * A record, numbers in the machine's order:
 *
 *   kind 1 | inode 8 | a 8 | b 8 | length of first 4 | length of second 4 | first | second
 *
 *   kind       inode   a                  b            first              second
 *   create     file                                    path
 *   resize     file    new size
 *   write      file    offset                          data
 *   sync       file    first record not
 *                      vouched for
 *   rename                                             path               new path
 *   unlink                                             path
 *   link                                               path               new path
 *   mkdir                                              path
 *   rmdir                                              path
 *   sync dir           as sync                         path
 *   say                                                data
 *
 * Paths are relative to the directory. Calls that would change a file unseen (shared writable mappings, copies inside
 * the kernel, holes punched into content) end the process: they would make the journal a lie. */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

/* The fortified headers turn some of these into macros. */
#undef open
#undef open64
#undef openat
#undef openat64

enum kind { CREATE = 1, RESIZE, WRITE, SYNC, RENAME, UNLINK, LINK, MKDIR, RMDIR, SYNC_DIR, SAY };

enum { HANDLES = 65536 };

/* What a handle stands for. */
struct handle {
  int tracked; /* 0 no, 1 a file, 2 a directory */
  uint64_t inode;
  char *path; /* of a directory, relative */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct handle handles[HANDLES];
static char root[PATH_MAX];
static size_t root_length;
static int journal = -1;
static uint64_t records;

static void refuse(const char *what) {
  dprintf(2, "journal.c: %s\n", what);
  abort();
}

__attribute__((constructor)) static void begin(void) {
  const char *directory = getenv("ROPEWALK_JOURNAL_ROOT"), *path = getenv("ROPEWALK_JOURNAL");
  if (directory == NULL || path == NULL || strlen(directory) >= PATH_MAX) return;
  strcpy(root, directory);
  root_length = strlen(root);
  journal = syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (journal < 0) refuse("the journal cannot be opened");
}

/* The path below the directory, or NULL where it is elsewhere. */
static const char *below(const char *path) {
  if (journal < 0 || path == NULL || strncmp(path, root, root_length) != 0) return NULL;
  path += root_length;
  if (*path != '/' && *path != '\0') return NULL;
  while (*path == '/') path++;
  return path;
}

/* As `below`, for a path that may be relative to a directory's handle. `space` is for the result. */
static const char *below_at(int directory, const char *path, char space[PATH_MAX]) {
  if (path == NULL || path[0] == '/') return below(path);
  if (directory < 0 || directory >= HANDLES || handles[directory].tracked != 2) return NULL;
  const char *folder = handles[directory].path;
  int length = snprintf(space, PATH_MAX, "%s%s%s", folder, *folder ? "/" : "", path);
  return length < PATH_MAX ? space : NULL;
}

static int is_file(int fd) { return fd >= 0 && fd < HANDLES && handles[fd].tracked == 1; }

static void put(const void *bytes, size_t length) {
  const char *at = bytes;
  while (length > 0) {
    ssize_t written = syscall(SYS_write, journal, at, length);
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) refuse("the journal cannot be written");
    at += written;
    length -= written;
  }
}

/* With the lock held. Keeps errno. */
static void record(enum kind kind, uint64_t inode, uint64_t a, uint64_t b, const void *first, size_t first_length,
                   const void *second, size_t second_length) {
  int kept = errno;
  unsigned char header[33];
  uint32_t lengths[2] = {(uint32_t)first_length, (uint32_t)second_length};
  header[0] = kind;
  memcpy(header + 1, &inode, 8);
  memcpy(header + 9, &a, 8);
  memcpy(header + 17, &b, 8);
  memcpy(header + 25, lengths, 8);
  /* One write where it can be: a killed process leaves whole records, and at most one torn one at the end. */
  struct iovec parts[3] = {{header, 33}, {(void *)first, first_length}, {(void *)second, second_length}};
  size_t total = 33 + first_length + second_length;
  ssize_t written = syscall(SYS_writev, journal, parts, 3);
  if (written < 0) refuse("the journal cannot be written");
  if ((size_t)written < total) {
    size_t skip = written;
    for (int part = 0; part < 3; part++) {
      size_t gone = skip < parts[part].iov_len ? skip : parts[part].iov_len;
      put((char *)parts[part].iov_base + gone, parts[part].iov_len - gone);
      skip -= gone;
    }
  }
  records++;
  errno = kept;
}

static void record_path(enum kind kind, const char *first, const char *second) {
  record(kind, 0, 0, 0, first, strlen(first), second, second == NULL ? 0 : strlen(second));
}

static void forget(int fd) {
  if (fd < 0 || fd >= HANDLES) return;
  free(handles[fd].path);
  handles[fd] = (struct handle){0};
}

/* ---- opening and closing ---- */

static int open_below(int directory, const char *path, int flags, mode_t mode, const char *name) {
  if (flags & (O_DSYNC | (O_SYNC & ~O_DSYNC))) refuse("files opened for synchronous writes are not understood");
  if ((flags & O_TMPFILE) == O_TMPFILE) refuse("files without names are not understood");
  pthread_mutex_lock(&lock);
  struct stat before, after;
  int was_there = syscall(SYS_newfstatat, directory, path, &before, 0) == 0;
  int fd = syscall(SYS_openat, directory, path, flags, mode);
  if (fd >= 0) {
    if (fd >= HANDLES || fstat(fd, &after) != 0) refuse("a handle is too large");
    forget(fd);
    handles[fd].inode = after.st_ino;
    if (S_ISDIR(after.st_mode)) {
      handles[fd].tracked = 2;
      handles[fd].path = strdup(name);
    } else {
      handles[fd].tracked = 1;
      if (!was_there)
        record(CREATE, after.st_ino, 0, 0, name, strlen(name), NULL, 0);
      else if ((flags & O_TRUNC) && before.st_size > 0)
        record(RESIZE, after.st_ino, 0, 0, NULL, 0, NULL, 0);
    }
  }
  pthread_mutex_unlock(&lock);
  return fd;
}

#define MODE(flags, mode)                                  \
  mode_t mode = 0;                                         \
  if ((flags) & (O_CREAT | __O_TMPFILE)) {                 \
    va_list arguments;                                     \
    va_start(arguments, flags);                            \
    mode = va_arg(arguments, mode_t);                      \
    va_end(arguments);                                     \
  }

static int open_any(int directory, const char *path, int flags, mode_t mode) {
  char space[PATH_MAX];
  const char *name = below_at(directory, path, space);
  if (name != NULL) return open_below(directory, path, flags, mode, name);
  int fd = syscall(SYS_openat, directory, path, flags, mode);
  return fd;
}

int open(const char *path, int flags, ...) {
  MODE(flags, mode)
  return open_any(AT_FDCWD, path, flags, mode);
}

int open64(const char *path, int flags, ...) {
  MODE(flags, mode)
  return open_any(AT_FDCWD, path, flags, mode);
}

int openat(int directory, const char *path, int flags, ...) {
  MODE(flags, mode)
  return open_any(directory, path, flags, mode);
}

int openat64(int directory, const char *path, int flags, ...) {
  MODE(flags, mode)
  return open_any(directory, path, flags, mode);
}

int __open_2(const char *path, int flags) { return open_any(AT_FDCWD, path, flags, 0); }
int __open64_2(const char *path, int flags) { return open_any(AT_FDCWD, path, flags, 0); }
int __openat_2(int directory, const char *path, int flags) { return open_any(directory, path, flags, 0); }
int __openat64_2(int directory, const char *path, int flags) { return open_any(directory, path, flags, 0); }
int creat(const char *path, mode_t mode) { return open_any(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode); }
int creat64(const char *path, mode_t mode) { return open_any(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode); }

int close(int fd) {
  pthread_mutex_lock(&lock);
  forget(fd);
  int result = syscall(SYS_close, fd);
  pthread_mutex_unlock(&lock);
  return result;
}

/* ---- content ---- */

/* Records `count` bytes of `parts`, which went to `offset`. */
static void record_parts(int fd, off_t offset, const struct iovec *parts, int parts_count, size_t count) {
  for (int part = 0; part < parts_count && count > 0; part++) {
    size_t length = parts[part].iov_len < count ? parts[part].iov_len : count;
    if (length > 0) record(WRITE, handles[fd].inode, offset, 0, parts[part].iov_base, length, NULL, 0);
    offset += length;
    count -= length;
  }
}

/* Writes at `offset`, or where the handle stands where that is negative. */
static ssize_t write_file(int fd, const struct iovec *parts, int count, off_t offset) {
  pthread_mutex_lock(&lock);
  ssize_t written;
  if (offset < 0) {
    written = syscall(SYS_writev, fd, parts, count);
    if (written > 0) record_parts(fd, lseek(fd, 0, SEEK_CUR) - written, parts, count, written);
  } else {
    written = syscall(SYS_pwritev, fd, parts, count, (long)offset, (long)0);
    if (written > 0) record_parts(fd, offset, parts, count, written);
  }
  pthread_mutex_unlock(&lock);
  return written;
}

ssize_t write(int fd, const void *data, size_t length) {
  struct iovec part = {(void *)data, length};
  if (is_file(fd)) return write_file(fd, &part, 1, -1);
  if (fd != 1 || journal < 0) return syscall(SYS_write, fd, data, length);
  pthread_mutex_lock(&lock);
  ssize_t written = syscall(SYS_write, fd, data, length);
  if (written > 0) record(SAY, 0, 0, 0, data, written, NULL, 0);
  pthread_mutex_unlock(&lock);
  return written;
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
  if (is_file(fd)) return write_file(fd, parts, count, -1);
  return syscall(SYS_writev, fd, parts, count);
}

ssize_t pwrite(int fd, const void *data, size_t length, off_t offset) {
  struct iovec part = {(void *)data, length};
  if (is_file(fd)) return write_file(fd, &part, 1, offset);
  return syscall(SYS_pwrite64, fd, data, length, offset);
}

ssize_t pwrite64(int fd, const void *data, size_t length, off64_t offset) { return pwrite(fd, data, length, offset); }

ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t offset) {
  if (is_file(fd)) return write_file(fd, parts, count, offset);
  return syscall(SYS_pwritev, fd, parts, count, (long)offset, (long)0);
}

ssize_t pwritev64(int fd, const struct iovec *parts, int count, off64_t offset) {
  return pwritev(fd, parts, count, offset);
}

/* Records the size of a file where a call has changed it. */
static void record_size(int fd, off_t before) {
  struct stat after;
  if (fstat(fd, &after) == 0 && after.st_size != before)
    record(RESIZE, handles[fd].inode, after.st_size, 0, NULL, 0, NULL, 0);
}

static off_t size_of(int fd) {
  struct stat found;
  return fstat(fd, &found) == 0 ? found.st_size : 0;
}

int ftruncate(int fd, off_t size) {
  if (!is_file(fd)) return syscall(SYS_ftruncate, fd, size);
  pthread_mutex_lock(&lock);
  off_t before = size_of(fd);
  int result = syscall(SYS_ftruncate, fd, size);
  if (result == 0) record_size(fd, before);
  pthread_mutex_unlock(&lock);
  return result;
}

int ftruncate64(int fd, off64_t size) { return ftruncate(fd, size); }

int truncate(const char *path, off_t size) {
  if (below(path) != NULL) refuse("truncate by path is not understood");
  return syscall(SYS_truncate, path, size);
}

int fallocate(int fd, int mode, off_t offset, off_t length) {
  if (!is_file(fd)) return syscall(SYS_fallocate, fd, mode, offset, length);
  pthread_mutex_lock(&lock);
  off_t before = size_of(fd);
  /* RocksDB gives back what it had set aside behind the end of a file; anything else would change content. */
  if ((mode & ~FALLOC_FL_KEEP_SIZE) != 0 && offset < before) refuse("a hole in a file's content is not understood");
  int result = syscall(SYS_fallocate, fd, mode, offset, length);
  if (result == 0) record_size(fd, before);
  pthread_mutex_unlock(&lock);
  return result;
}

int fallocate64(int fd, int mode, off64_t offset, off64_t length) { return fallocate(fd, mode, offset, length); }

int posix_fallocate(int fd, off_t offset, off_t length) {
  return fallocate(fd, 0, offset, length) == 0 ? 0 : errno;
}

int posix_fallocate64(int fd, off64_t offset, off64_t length) { return posix_fallocate(fd, offset, length); }

void *mmap(void *address, size_t length, int protection, int flags, int fd, off_t offset) {
  if (is_file(fd) && (protection & PROT_WRITE) && (flags & MAP_TYPE) != MAP_PRIVATE)
    refuse("shared writable mappings are not understood");
  return (void *)syscall(SYS_mmap, address, length, protection, flags, fd, offset);
}

void *mmap64(void *address, size_t length, int protection, int flags, int fd, off64_t offset) {
  return mmap(address, length, protection, flags, fd, offset);
}

ssize_t copy_file_range(int from, off64_t *from_offset, int to, off64_t *to_offset, size_t length, unsigned flags) {
  if (is_file(to)) {
    /* Whoever asks has to be able to do without. */
    errno = ENOSYS;
    return -1;
  }
  return syscall(SYS_copy_file_range, from, from_offset, to, to_offset, length, flags);
}

ssize_t sendfile(int to, int from, off_t *offset, size_t length) {
  if (is_file(to)) {
    errno = EINVAL;
    return -1;
  }
  return syscall(SYS_sendfile, to, from, offset, length);
}

ssize_t sendfile64(int to, int from, off64_t *offset, size_t length) { return sendfile(to, from, offset, length); }

/* ---- syncs ---- */

static int sync_handle(int fd) {
  pthread_mutex_lock(&lock);
  struct handle *handle = &handles[fd];
  if (handle->tracked == 2)
    record(SYNC_DIR, 0, records, 0, handle->path, strlen(handle->path), NULL, 0);
  else
    record(SYNC, handle->inode, records, 0, NULL, 0, NULL, 0);
  pthread_mutex_unlock(&lock);
  return 0;
}

static int is_tracked(int fd) { return fd >= 0 && fd < HANDLES && handles[fd].tracked != 0; }

int fsync(int fd) { return is_tracked(fd) ? sync_handle(fd) : syscall(SYS_fsync, fd); }
int fdatasync(int fd) { return is_tracked(fd) ? sync_handle(fd) : syscall(SYS_fdatasync, fd); }

/* Promises nothing, and so it is not written down. */
int sync_file_range(int fd, off64_t offset, off64_t length, unsigned flags) {
  return is_tracked(fd) ? 0 : syscall(SYS_sync_file_range, fd, offset, length, flags);
}

/* ---- names ---- */

#define PAIR(from_directory, from, to_directory, to)                                                     \
  char from_space[PATH_MAX], to_space[PATH_MAX];                                                         \
  const char *from_name = below_at(from_directory, from, from_space);                                    \
  const char *to_name = below_at(to_directory, to, to_space);                                            \
  if ((from_name == NULL) != (to_name == NULL)) refuse("names that lead out of the directory are not understood");

static int rename_any(int from_directory, const char *from, int to_directory, const char *to, unsigned flags) {
  PAIR(from_directory, from, to_directory, to)
  if (from_name != NULL && flags != 0) refuse("exchanges of names are not understood");
  pthread_mutex_lock(&lock);
  int result = syscall(SYS_renameat2, from_directory, from, to_directory, to, flags);
  if (result == 0 && from_name != NULL) record_path(RENAME, from_name, to_name);
  pthread_mutex_unlock(&lock);
  return result;
}

int rename(const char *from, const char *to) { return rename_any(AT_FDCWD, from, AT_FDCWD, to, 0); }

int renameat(int from_directory, const char *from, int to_directory, const char *to) {
  return rename_any(from_directory, from, to_directory, to, 0);
}

int renameat2(int from_directory, const char *from, int to_directory, const char *to, unsigned flags) {
  return rename_any(from_directory, from, to_directory, to, flags);
}

static int link_any(int from_directory, const char *from, int to_directory, const char *to, int flags) {
  char from_space[PATH_MAX], to_space[PATH_MAX];
  const char *from_name = below_at(from_directory, from, from_space);
  const char *to_name = below_at(to_directory, to, to_space);
  if (from_name == NULL && to_name != NULL) {
    /* A file whose content was not seen. Whoever links it falls back to a copy. */
    errno = EXDEV;
    return -1;
  }
  pthread_mutex_lock(&lock);
  int result = syscall(SYS_linkat, from_directory, from, to_directory, to, flags);
  if (result == 0 && to_name != NULL) record_path(LINK, from_name, to_name);
  pthread_mutex_unlock(&lock);
  return result;
}

int link(const char *from, const char *to) { return link_any(AT_FDCWD, from, AT_FDCWD, to, 0); }

int linkat(int from_directory, const char *from, int to_directory, const char *to, int flags) {
  return link_any(from_directory, from, to_directory, to, flags);
}

int symlink(const char *target, const char *path) {
  if (below(path) != NULL) refuse("symbolic links are not understood");
  return syscall(SYS_symlinkat, target, AT_FDCWD, path);
}

int unlinkat(int directory, const char *path, int flags) {
  char space[PATH_MAX];
  const char *name = below_at(directory, path, space);
  pthread_mutex_lock(&lock);
  int result = syscall(SYS_unlinkat, directory, path, flags);
  if (result == 0 && name != NULL) record_path((flags & AT_REMOVEDIR) ? RMDIR : UNLINK, name, NULL);
  pthread_mutex_unlock(&lock);
  return result;
}

int unlink(const char *path) { return unlinkat(AT_FDCWD, path, 0); }
int rmdir(const char *path) { return unlinkat(AT_FDCWD, path, AT_REMOVEDIR); }

int remove(const char *path) {
  int result = unlinkat(AT_FDCWD, path, 0);
  return result != 0 && errno == EISDIR ? unlinkat(AT_FDCWD, path, AT_REMOVEDIR) : result;
}

int mkdirat(int directory, const char *path, mode_t mode) {
  char space[PATH_MAX];
  const char *name = below_at(directory, path, space);
  pthread_mutex_lock(&lock);
  int result = syscall(SYS_mkdirat, directory, path, mode);
  if (result == 0 && name != NULL) record_path(MKDIR, name, NULL);
  pthread_mutex_unlock(&lock);
  return result;
}

int mkdir(const char *path, mode_t mode) { return mkdirat(AT_FDCWD, path, mode); }
