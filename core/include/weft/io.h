#pragma once

#include <filesystem>
#include <map>
#include <string>

#include "weft/array.h"

namespace weft {

/// Named arrays and text, the contents of a safetensors file.
struct TensorFile {
  std::map<std::string, Array> arrays;
  std::map<std::string, std::string> metadata;
  /// Dtype and shape, "U64 (2, 3)", of the tensors read that no dtype of weft holds. They are not written.
  std::map<std::string, std::string> unsupported = {};

  /// Throws DTypeError on an unsupported tensor, ValueError where there is none of the name.
  const Array& at(const std::string& name) const;
};

/// Reads a safetensors file onto the CPU. I8, I16 and U16 become i32, U32 i64, F8_E4M3 and F8_E5M2 f16, F8_E8M0 f32.
/// Throws IoError when it cannot be read, FormatError (file, rule, values) when it breaks the format; allocates nothing
/// before the sizes have been checked against the file's.
TensorFile load_safetensors(const std::filesystem::path& path);
/// Writes beside the target, syncs and renames: the target is either the old file or the whole new one. Throws IoError.
void save_safetensors(const std::filesystem::path& path, const TensorFile& file);

/// NumPy's .npy, versions 1 to 3, C or Fortran order, either order of bytes; i1, i2 and u2 become i32, u4 i64. Written
/// little-endian.
Array load_npy(const std::filesystem::path& path);
void save_npy(const std::filesystem::path& path, const Array& array);

/// Writes the bytes beside the target, syncs file and folder, and renames. Throws IoError; the target is then untouched
/// and nothing is left behind.
void write_file_atomically(const std::filesystem::path& path, std::string_view bytes);

}  // namespace weft
