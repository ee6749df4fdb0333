#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>

#include "weft/array.h"
#include "weft/source.h"

namespace weft::io {

/// An open file descriptor, or -1.
class Descriptor {
 public:
  explicit Descriptor(int value) : value_(value) {}
  ~Descriptor() { close(); }
  Descriptor(Descriptor&& other) noexcept : value_(std::exchange(other.value_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(value_, other.value_);
    return *this;
  }

  int get() const { return value_; }
  /// False, with errno set, when the system reports that something was not written.
  bool close();

 private:
  int value_;
};

/// A temporary file beside `path` that takes its place on commit() and is removed without one. A symbolic link is
/// followed, an existing file's permissions are kept (less the umask), anything but a regular file is refused.
///
/// What a power loss leaves: until commit() returns, the old file or the whole new one; after that, the new one. For
/// that the calls keep an order: write, fsync of the file, rename, fsync of the folder. Where a file system cannot sync
/// a folder, the old file can come back.
///
/// The temporary file is locked (flock) while its process lives, so that the next save beside it can remove those of
/// processes that were killed. Where a file system has no locks they stay.
class AtomicFile {
 public:
  explicit AtomicFile(const std::filesystem::path& path);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  void write(const void* data, std::size_t bytes);
  /// Syncs, renames, syncs the folder.
  void commit();

 private:
  [[noreturn]] void fail(std::string_view what, int error) const;

  std::filesystem::path path_;
  Descriptor folder_;
  std::string temporary_;
  Descriptor file_;
};

/// Bytes of a dense array, or -1 where the product (axes of size 0 counted as 1) does not fit 63 bits.
std::int64_t byte_count(const Shape& shape, DType dtype);
/// The next elements, row-major, as a new array on the CPU. Booleans must be bytes 0 or 1. `what` names it in errors.
Array read_elements(Source& source, const Shape& shape, DType dtype, std::string_view what);
/// The elements in row-major order, from any device.
void write_elements(AtomicFile& file, const Array& array);

}  // namespace weft::io
