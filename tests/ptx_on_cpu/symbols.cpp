#include "symbols.h"

#include <dlfcn.h>
#include <elf.h>
#include <link.h>

#include <fstream>
#include <iterator>
#include <unordered_map>
#include <vector>

#include "module.h"

namespace weft::ptx_on_cpu {

namespace {

using Table = std::unordered_map<std::uintptr_t, Symbol>;

// The functions of an ELF file of 64 bits, by address within the file.
Table read_symbols(const char* path) {
  std::ifstream in(path, std::ios::binary);
  const std::string bytes{std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
  const auto at = [&]<class T>(std::size_t offset, T) -> const T* {
    if (offset + sizeof(T) > bytes.size()) throw PtxError("the program's table of symbols cannot be read");
    return reinterpret_cast<const T*>(bytes.data() + offset);
  };
  const ElfW(Ehdr)* const header = at(0, ElfW(Ehdr){});
  Table table;
  for (int i = 0; i < header->e_shnum; ++i) {
    const std::size_t place = header->e_shoff + static_cast<std::size_t>(i) * sizeof(ElfW(Shdr));
    const ElfW(Shdr)* const section = at(place, ElfW(Shdr){});
    if (section->sh_type != SHT_SYMTAB) continue;
    const ElfW(Shdr)* const names = at(header->e_shoff + section->sh_link * sizeof(ElfW(Shdr)), ElfW(Shdr){});
    std::string file;
    for (std::size_t offset = 0; offset < section->sh_size; offset += sizeof(ElfW(Sym))) {
      const ElfW(Sym)* const symbol = at(section->sh_offset + offset, ElfW(Sym){});
      const std::string name = bytes.c_str() + names->sh_offset + symbol->st_name;
      const int type = symbol->st_info & 15;
      if (type == STT_FILE) file = name;
      if (type == STT_FUNC && symbol->st_shndx != SHN_UNDEF) {
        table.try_emplace(symbol->st_value, Symbol{(symbol->st_info >> 4) == STB_LOCAL ? file : "", name});
      }
    }
  }
  return table;
}

}  // namespace

Symbol symbol_at(const void* address) {
  static const Table table = read_symbols("/proc/self/exe");
  Dl_info info{};
  if (dladdr(address, &info) == 0) throw PtxError("a kernel lies in no program");
  const auto found =
      table.find(reinterpret_cast<std::uintptr_t>(address) - reinterpret_cast<std::uintptr_t>(info.dli_fbase));
  if (found == table.end()) throw PtxError("a kernel has no name in the program's table of symbols");
  return found->second;
}

std::string without_anonymous_names(const std::string& mangled) {
  constexpr const char* kMark = "_GLOBAL__N_";
  std::string result;
  std::size_t at = 0;
  for (std::size_t mark; (mark = mangled.find(kMark, at)) != std::string::npos;) {
    std::size_t digits = mark;
    while (digits > at && mangled[digits - 1] >= '0' && mangled[digits - 1] <= '9') --digits;
    // The number before is the name's length; a part of it may belong to what comes before, as in "Li4" and "12".
    std::size_t length = 0;
    for (std::size_t from = digits; from < mark; ++from)
      length = length * 10 + static_cast<std::size_t>(mangled[from] - '0');
    if (length == 0 || mark + length > mangled.size()) break;
    result += mangled.substr(at, digits - at) + "12_GLOBAL__N_1";
    at = mark + length;
  }
  return result + mangled.substr(at);
}

}  // namespace weft::ptx_on_cpu
