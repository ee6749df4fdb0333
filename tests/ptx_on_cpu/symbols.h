#pragma once

#include <string>

namespace weft::ptx_on_cpu {

struct Symbol {
  std::string file;  ///< the source that it is of, where it is local: "norm.cu"
  std::string name;  ///< mangled
};
/// The function of this program at that address, by the program's own table of symbols, which names local ones too.
/// Throws PtxError where there is none.
Symbol symbol_at(const void* address);

/// The mangled name with every anonymous namespace written as g++ writes it: nvcc puts the file and a hash into it.
std::string without_anonymous_names(const std::string& mangled);

}  // namespace weft::ptx_on_cpu
