#include "cli/check_hashes.h"

#include <charconv>
#include <cmath>
#include <cstdio>
#include <fstream>

#include "weft/quote.h"

// tests/ptx_on_cpu/report.h
extern "C" [[gnu::weak]] void weft_ptx_begin_result();
extern "C" [[gnu::weak]] int weft_ptx_end_result();

namespace weft::cli::check {

std::uint64_t hash_of(const std::vector<Array>& results) {
  std::uint64_t hash = 14695981039346656037u;
  const auto mix = [&hash](const void* data, std::size_t bytes) {
    for (std::size_t i = 0; i < bytes; ++i) {
      hash = (hash ^ static_cast<const unsigned char*>(data)[i]) * 1099511628211u;
    }
  };
  for (const Array& array : results) {
    const DType dtype = array.dtype();
    mix(&dtype, sizeof dtype);
    for (const std::int64_t size : array.shape()) mix(&size, sizeof size);
    const std::size_t width = size_of(dtype);
    const auto* element = static_cast<const char*>(array.data());
    const std::vector<double> values =
        is_floating_point(dtype) ? array.to(DType::f64).to_vector<double>() : std::vector<double>();
    for (std::int64_t i = 0; i < array.size(); ++i, element += width) {
      constexpr char kNan = 'n';
      const bool nan = !values.empty() && std::isnan(values[static_cast<std::size_t>(i)]);
      mix(nan ? &kNan : element, nan ? 1 : width);
    }
  }
  return hash;
}

Hashes read_hashes(const std::string& path) {
  std::ifstream file(path);
  if (!file) throw IoError(path + ": cannot be read");
  Hashes hashes;
  constexpr std::size_t kDigits = 16;
  for (std::string line; std::getline(file, line);) {
    std::uint64_t hash = 0;
    const char* const end = line.data() + std::min(line.size(), kDigits);
    const auto [rest, error] = std::from_chars(line.data(), end, hash, 16);
    if (error != std::errc() || rest != line.data() + kDigits || line.size() < kDigits + 2 || line[kDigits] != ' ') {
      throw FormatError(std::string(path).append(": not a hash and the name of a case: ").append(quote(line)));
    }
    hashes[line.substr(kDigits + 1)] = hash;
  }
  if (file.bad()) throw IoError(path + ": cannot be read");
  return hashes;
}

std::string hash_line(const std::string& name, std::uint64_t hash) {
  char digits[17];
  std::snprintf(digits, sizeof digits, "%016lx", static_cast<unsigned long>(hash));
  return digits + (" " + name) + "\n";
}

void write_hashes(const std::string& path, const Hashes& hashes) {
  std::ofstream file(path);
  for (const auto& [name, hash] : hashes) file << hash_line(name, hash);
  file.close();
  if (!file) throw IoError(path + ": cannot be written");
}

void begin_result() {
  if (weft_ptx_begin_result != nullptr) weft_ptx_begin_result();
}

bool end_result(bool otherwise) {
  const int traits = weft_ptx_end_result == nullptr ? -1 : weft_ptx_end_result();
  return traits < 0 ? otherwise : traits == 0;
}

}  // namespace weft::cli::check
