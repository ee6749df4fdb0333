#include "core/io/file.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <limits>
#include <system_error>
#include <utility>

#include "weft/error.h"
#include "weft/io.h"

namespace weft {
namespace io {
namespace {

std::string message(std::string_view name, std::string_view what, std::string_view why) {
  std::string text(name);
  return text.append(": ").append(what).append(" (").append(why).append(")");
}

std::string describe(int error) { return std::system_category().message(error); }

// What a chain of symbolic links leads to, be it there or not; the path itself where the chain does not end.
std::filesystem::path follow_link(const std::filesystem::path& path) {
  constexpr int kMaxLinks = 40;  // Linux's own limit
  std::error_code error;
  std::filesystem::path target = path;
  for (int i = 0; i < kMaxLinks && !error; ++i) {
    if (!std::filesystem::is_symlink(target, error)) return target;
    target = target.parent_path() / std::filesystem::read_symlink(target, error);
  }
  return path;
}

/// The call's result when no signal interrupts it: a handler without SA_RESTART is the program's, not a reason to fail.
template <class F>
int repeated(const F& call) {
  int result = 0;
  do {
    result = call();
  } while (result < 0 && errno == EINTR);
  return result;
}

int open_folder_of(const std::filesystem::path& path) {
  const auto folder = path.has_parent_path() ? path.parent_path() : std::filesystem::path(".");
  return repeated([&] { return ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC); });
}

/// "prefix12-3.tmp".
bool is_temporary(std::string_view name, std::string_view prefix) {
  constexpr std::string_view kEnd = ".tmp";
  if (!name.starts_with(prefix) || !name.ends_with(kEnd) || name.size() < prefix.size() + kEnd.size()) return false;
  name.remove_prefix(prefix.size());
  name.remove_suffix(kEnd.size());
  const std::size_t dash = name.find('-');
  return dash != std::string_view::npos && dash > 0 && dash + 1 < name.size() &&
         name.find_first_not_of("0123456789-") == std::string_view::npos &&
         name.find('-', dash + 1) == std::string_view::npos;
}

/// Removes the temporary files of processes that live no more: those whose lock can be had.
void remove_abandoned(int folder, const std::string& prefix) {
  const int listed = ::openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  DIR* entries = listed < 0 ? nullptr : ::fdopendir(listed);
  if (entries == nullptr) {
    Descriptor closed(listed);
    return;
  }
  while (const struct dirent* entry = ::readdir(entries)) {
    if (!is_temporary(entry->d_name, prefix)) continue;
    const Descriptor file(::openat(folder, entry->d_name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
    if (file.get() >= 0 && ::flock(file.get(), LOCK_EX | LOCK_NB) == 0) ::unlinkat(folder, entry->d_name, 0);
  }
  ::closedir(entries);
}

}  // namespace

void Source::read(void* out, std::size_t bytes) {
  if (bytes > remaining_) fail("file is truncated", std::to_string(size_) + " bytes");
  if (bytes > 0) read_next(out, bytes);
  remaining_ -= bytes;
}

std::string Source::read_text(std::size_t bytes) {
  if (bytes > remaining_) fail("file is truncated", std::to_string(size_) + " bytes");
  std::string text(bytes, '\0');
  read(text.data(), bytes);
  return text;
}

void Source::skip(std::size_t bytes) {
  char some[4096];
  for (; bytes > 0; bytes -= std::min(bytes, sizeof some)) read(some, std::min(bytes, sizeof some));
}

void Source::fail(std::string_view rule, std::string_view values) const {
  throw FormatError(message(name_, rule, values));
}

void Source::fail_io(std::string_view what, std::string_view why) const { throw IoError(message(name_, what, why)); }

void MemorySource::read_next(void* out, std::size_t bytes) {
  std::memcpy(out, bytes_.data() + (size() - remaining()), bytes);
}

bool Descriptor::close() {
  const int value = std::exchange(value_, -1);
  return value < 0 || ::close(value) == 0 || errno == EINTR;
}

struct FileSource::Opened {
  Descriptor descriptor;
  std::uint64_t size;
};

FileSource::FileSource(const std::filesystem::path& path) : FileSource(path.string(), open(path)) {}

FileSource::FileSource(std::string name, std::unique_ptr<Opened> file)
    : Source(std::move(name), file->size), file_(std::move(file)) {}

FileSource::~FileSource() = default;

std::unique_ptr<FileSource::Opened> FileSource::open(const std::filesystem::path& path) {
  // O_NONBLOCK: opening a pipe returns, to be refused, instead of waiting for a writer.
  Descriptor file(repeated([&] { return ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK); }));
  struct stat status;
  if (file.get() < 0 || ::fstat(file.get(), &status) != 0)
    throw IoError(message(path.string(), "cannot open", describe(errno)));
  if (!S_ISREG(status.st_mode)) throw IoError(message(path.string(), "cannot open", "not a regular file"));
  return std::make_unique<Opened>(Opened{std::move(file), static_cast<std::uint64_t>(status.st_size)});
}

void FileSource::check_size_unchanged() const {
  struct stat status;
  if (::fstat(file_->descriptor.get(), &status) != 0) fail_io("cannot read", describe(errno));
  if (static_cast<std::uint64_t>(status.st_size) != size())
    fail_io("size changed while it was read",
            std::to_string(size()) + " bytes before, " + std::to_string(status.st_size) + " after");
}

void FileSource::read_next(void* out, std::size_t bytes) {
  auto* at = static_cast<char*>(out);
  while (bytes > 0) {
    const ssize_t count = ::read(file_->descriptor.get(), at, bytes);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) fail_io("cannot read", describe(errno));
    if (count == 0) {
      check_size_unchanged();
      fail_io("cannot read", "unexpected end of file");
    }
    at += count;
    bytes -= static_cast<std::size_t>(count);
  }
}

AtomicFile::AtomicFile(const std::filesystem::path& path)
    : path_(follow_link(path)), folder_(open_folder_of(path_)), file_(-1) {
  if (folder_.get() < 0) fail("cannot open its folder", errno);
  const std::string target = path_.filename().string();
  struct stat status;
  const bool exists = ::fstatat(folder_.get(), target.c_str(), &status, 0) == 0;
  if (!exists && errno != ENOENT) fail("cannot write", errno);
  if (target.empty() || (exists && !S_ISREG(status.st_mode)))
    throw IoError(message(path_.string(), "cannot write", "not a regular file"));
  const mode_t mode = exists ? status.st_mode & 0777 : 0666;

  static std::atomic<unsigned> counter{0};
  const std::string prefix = "." + target.substr(0, 200) + ".";
  remove_abandoned(folder_.get(), prefix);
  for (;;) {
    std::string name = prefix + std::to_string(::getpid()) + "-" + std::to_string(counter++) + ".tmp";
    const int descriptor =
        repeated([&] { return ::openat(folder_.get(), name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode); });
    if (descriptor < 0 && errno == EEXIST) continue;
    if (descriptor < 0) fail("cannot create a temporary file beside it", errno);
    file_ = Descriptor(descriptor);
    temporary_ = std::move(name);
    repeated([&] { return ::flock(descriptor, LOCK_EX); });
    // Until it was locked, another process could take it for abandoned.
    struct stat own;
    if (::fstat(descriptor, &own) != 0 || own.st_nlink > 0) return;
  }
}

AtomicFile::~AtomicFile() {
  if (!temporary_.empty()) ::unlinkat(folder_.get(), temporary_.c_str(), 0);
}

void AtomicFile::write(const void* data, std::size_t bytes) {
  const auto* at = static_cast<const char*>(data);
  while (bytes > 0) {
    const ssize_t count = ::write(file_.get(), at, bytes);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) fail("cannot write", errno);
    at += count;
    bytes -= static_cast<std::size_t>(count);
  }
}

void AtomicFile::commit() {
  if (repeated([&] { return ::fsync(file_.get()); }) != 0) fail("cannot write", errno);
  const Descriptor lock(::fcntl(file_.get(), F_DUPFD_CLOEXEC, 0));  // held until the file has its name
  if (!file_.close()) fail("cannot write", errno);
  if (::renameat(folder_.get(), temporary_.c_str(), folder_.get(), path_.filename().c_str()) != 0)
    fail("cannot replace", errno);
  temporary_.clear();
  // Some file systems cannot sync a folder and say so with EINVAL.
  if (repeated([&] { return ::fsync(folder_.get()); }) != 0 && errno != EINVAL)
    fail("written, but its folder cannot be synced", errno);
}

void AtomicFile::fail(std::string_view what, int error) const {
  throw IoError(message(path_.string(), what, describe(error)));
}

std::int64_t byte_count(const Shape& shape, DType dtype) {
  auto count = static_cast<std::int64_t>(size_of(dtype));
  bool empty = false;
  for (const std::int64_t extent : shape) {
    if (extent < 0) return -1;
    empty |= extent == 0;
    const std::int64_t factor = std::max<std::int64_t>(extent, 1);
    if (count > std::numeric_limits<std::int64_t>::max() / factor) return -1;
    count *= factor;
  }
  return empty ? 0 : count;
}

Array read_elements(Source& source, const Shape& shape, DType dtype, std::string_view what) {
  const auto bytes = static_cast<std::size_t>(byte_count(shape, dtype));
  Array array = Array::empty(shape, dtype);
  source.read(array.data(), bytes);
  if (dtype == DType::boolean) {
    const auto* values = static_cast<const std::uint8_t*>(array.data());
    const auto* end = values + bytes;
    const auto* bad = std::find_if(values, end, [](std::uint8_t value) { return value > 1; });
    if (bad != end)
      source.fail("booleans must be 0 or 1",
                  std::string(what) + ", element " + std::to_string(bad - values) + ": " + std::to_string(*bad));
  }
  return array;
}

void write_elements(AtomicFile& file, const Array& array) {
  const Array dense = array.to(Device::cpu()).contiguous();
  file.write(dense.data(), static_cast<std::size_t>(byte_count(dense.shape(), dense.dtype())));
}

}  // namespace io

void write_file_atomically(const std::filesystem::path& path, std::string_view bytes) {
  io::AtomicFile file(path);
  file.write(bytes.data(), bytes.size());
  file.commit();
}

}  // namespace weft
