#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

/// What readers of file formats read from.
namespace weft::io {

/// Bytes that are read once from front to back, from a file or from memory. Every error has the source's name.
class Source {
 public:
  Source(std::string name, std::uint64_t size) : name_(std::move(name)), size_(size) {}
  virtual ~Source() = default;
  Source(const Source&) = delete;
  Source& operator=(const Source&) = delete;

  std::uint64_t size() const { return size_; }
  std::uint64_t remaining() const { return remaining_; }
  /// Throws FormatError when fewer bytes remain, IoError when they cannot be read.
  void read(void* out, std::size_t bytes);
  std::string read_text(std::size_t bytes);
  void skip(std::size_t bytes);  ///< throws as read() does
  /// Throws FormatError "name: rule (values)".
  [[noreturn]] void fail(std::string_view rule, std::string_view values) const;

 protected:
  [[noreturn]] void fail_io(std::string_view what, std::string_view why) const;

 private:
  virtual void read_next(void* out, std::size_t bytes) = 0;

  std::string name_;
  std::uint64_t size_;
  std::uint64_t remaining_ = size_;
};

/// The bytes must outlive the source.
class MemorySource : public Source {
 public:
  MemorySource(std::string name, std::string_view bytes) : Source(std::move(name), bytes.size()), bytes_(bytes) {}

 private:
  void read_next(void* out, std::size_t bytes) override;

  std::string_view bytes_;
};

class FileSource : public Source {
 public:
  /// Throws IoError when there is no regular file that can be read.
  explicit FileSource(const std::filesystem::path& path);
  ~FileSource() override;
  /// Throws IoError when the file's size has changed since it was opened.
  void check_size_unchanged() const;

 private:
  struct Opened;
  FileSource(std::string name, std::unique_ptr<Opened> file);
  static std::unique_ptr<Opened> open(const std::filesystem::path& path);
  void read_next(void* out, std::size_t bytes) override;

  std::unique_ptr<Opened> file_;
};

}  // namespace weft::io
