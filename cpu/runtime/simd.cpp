#include "cpu/runtime/simd.h"

#include <algorithm>
#include <cstdlib>
#include <string_view>

#include "weft/device.h"

#ifdef WEFT_X86
#include <cpuid.h>
#endif

namespace weft::cpu {
namespace {

#ifdef WEFT_X86
bool has_f16c() noexcept {  // __builtin_cpu_supports of clang 14 does not know the name
  unsigned a = 0, b = 0, c = 0, d = 0;
  return __get_cpuid(1, &a, &b, &c, &d) != 0 && (c & bit_F16C) != 0;
}
#endif

Isa detect() noexcept {
#ifdef WEFT_X86
  __builtin_cpu_init();
  if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma") || !has_f16c()) return Isa::portable;
  const bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  return avx512 ? Isa::avx512 : Isa::avx2;
#else
  return Isa::portable;
#endif
}

Isa choose() noexcept {
  const char* wanted = std::getenv("WEFT_ISA");
  if (wanted != nullptr) {
    for (Isa isa : {Isa::portable, Isa::avx2, Isa::avx512}) {
      if (std::string_view(wanted) == name(isa)) return std::min(isa, widest_isa());
    }
  }
  return widest_isa();
}

}  // namespace

Isa widest_isa() noexcept {
  static const Isa widest = detect();
  return widest;
}

Isa isa() noexcept {
  static const Isa chosen = choose();
  return chosen;
}

const char* name(Isa isa) noexcept {
  switch (isa) {
    case Isa::avx512:
      return "avx512";
    case Isa::avx2:
      return "avx2";
    case Isa::portable:
      break;
  }
  return "portable";
}

}  // namespace weft::cpu

std::vector<std::string> weft::cpu_instruction_sets() {
  std::vector<std::string> names;
  for (const cpu::Isa isa : {cpu::Isa::avx512, cpu::Isa::avx2, cpu::Isa::portable}) {
    if (isa <= cpu::isa()) names.emplace_back(cpu::name(isa));
  }
  return names;
}
