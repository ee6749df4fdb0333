#pragma once

#include <gtest/gtest.h>
#include <stdlib.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "weft/array.h"

namespace weft::test {

/// A new folder, removed with everything in it.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string pattern = (std::filesystem::temp_directory_path() / "weft_io_XXXXXX").string();
    if (::mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("mkdtemp failed");
    path_ = pattern;
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;

  std::filesystem::path operator/(std::string_view name) const { return path_ / name; }
  std::vector<std::string> names() const {
    std::vector<std::string> found;
    for (const auto& entry : std::filesystem::directory_iterator(path_)) found.push_back(entry.path().filename());
    std::sort(found.begin(), found.end());
    return found;
  }

 private:
  std::filesystem::path path_;
};

inline std::string read_file(const std::filesystem::path& path) {
  std::ifstream stream(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

inline void write_file(const std::filesystem::path& path, std::string_view bytes) {
  std::ofstream(path, std::ios::binary).write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

/// Text with every NUL kept, which a plain literal would end at.
template <std::size_t N>
std::string text(const char (&literal)[N]) {
  return std::string(literal, N - 1);
}

/// The message of the E that `call` throws; a test failure and "" where it throws none.
template <class E, class F>
std::string message_of(F call) {
  try {
    call();
  } catch (const E& error) {
    return error.what();
  } catch (const std::exception& error) {
    ADD_FAILURE() << "another type of error: " << error.what();
    return "";
  }
  ADD_FAILURE() << "nothing was thrown";
  return "";
}

/// Row-major array of arbitrary bytes (0 and 1 for booleans), different for each seed.
inline Array sample(const Shape& shape, DType dtype, unsigned seed = 1) {
  Array array = Array::empty(shape, dtype);
  auto* bytes = static_cast<unsigned char*>(array.data());
  const std::size_t count = static_cast<std::size_t>(array.size()) * size_of(dtype);
  for (std::size_t i = 0; i < count; ++i) {
    seed = seed * 1664525u + 1013904223u;
    bytes[i] = static_cast<unsigned char>(dtype == DType::boolean ? seed >> 31 : seed >> 24);
  }
  return array;
}

/// The bytes of the elements in row-major order, found by walking the strides.
inline std::string bytes_of(const Array& array) {
  std::string bytes;
  const std::size_t width = size_of(array.dtype());
  for (std::int64_t i = 0; i < array.size(); ++i) {
    std::int64_t rest = i, offset = 0;
    for (int axis = array.rank() - 1; axis >= 0; --axis) {
      offset += rest % array.shape()[axis] * array.strides()[axis];
      rest /= array.shape()[axis];
    }
    bytes.append(static_cast<const char*>(array.data()) + offset * static_cast<std::int64_t>(width), width);
  }
  return bytes;
}

inline void expect_equal(const Array& actual, const Array& expected) {
  EXPECT_EQ(actual.dtype(), expected.dtype());
  EXPECT_EQ(actual.shape(), expected.shape()) << to_string(actual.shape()) << " and " << to_string(expected.shape());
  EXPECT_TRUE(bytes_of(actual) == bytes_of(expected)) << "different bytes";
}

inline constexpr DType kAllDTypes[] = {DType::boolean, DType::u8,   DType::i32, DType::i64,
                                       DType::f16,     DType::bf16, DType::f32, DType::f64};

/// One shape of each rank from 0 to 8, and three without elements.
inline const std::vector<Shape>& shapes() {
  static const std::vector<Shape> all = {{},
                                         {5},
                                         {2, 3},
                                         {3, 1, 2},
                                         {1, 2, 3, 2},
                                         {2, 1, 2, 1, 3},
                                         {1, 1, 1, 1, 1, 1},
                                         {2, 1, 2, 1, 1, 1, 3},
                                         {1, 2, 1, 2, 1, 2, 1, 2},
                                         {0},
                                         {3, 0, 2},
                                         {0, 0, 7, 0}};
  return all;
}

/// Views of the same 24 int32 that are not row-major: transposed, reversed, sliced at an offset, expanded.
inline std::vector<Array> odd_views() {
  const Array base = sample({2, 3, 4}, DType::i32);
  return {base.view(Layout({4, 3, 2}, {1, 4, 12})), base.view(Layout({2, 3, 4}, {-12, -4, -1}, 23)),
          base.view(Layout({2, 2}, {12, 2}, 5)), base.view(Layout({3, 4, 5}, {4, 1, 0})),
          base.view(Layout({4}, {1}, 20))};
}

}  // namespace weft::test
