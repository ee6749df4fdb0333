#include <cstring>

#include "ops.h"

// Calls of device functions, and moves between a register and its parts.

namespace weft::ptx_on_cpu {

namespace {

template <class Whole, class Part>
void pack(Frame& frame, const Instruction& in, const Lanes& lanes) {
  constexpr int kParts = sizeof(Whole) / sizeof(Part);
  Whole* const whole = frame.reg<Whole>(in.registers[15]);
  const Part* parts[kParts];
  for (int k = 0; k < kParts; ++k) parts[k] = frame.reg<Part>(in.registers[k]);
  for (int j = 0; j < lanes.count; ++j) {
    const int i = lanes.at[j];
    Whole value = 0;
    for (int k = 0; k < kParts; ++k) {
      value =
          static_cast<Whole>(value | static_cast<Whole>(parts[k][i]) << (8 * sizeof(Part) * static_cast<unsigned>(k)));
    }
    whole[i] = value;
  }
}

template <class Whole, class Part>
void unpack(Frame& frame, const Instruction& in, const Lanes& lanes) {
  constexpr int kParts = sizeof(Whole) / sizeof(Part);
  const Whole* const whole = frame.reg<Whole>(in.registers[15]);
  Part* parts[kParts];
  for (int k = 0; k < kParts; ++k) parts[k] = frame.reg<Part>(in.registers[k]);
  for (int j = 0; j < lanes.count; ++j) {
    const int i = lanes.at[j];
    const Whole value = whole[i];
    for (int k = 0; k < kParts; ++k) {
      parts[k][i] = static_cast<Part>(value >> (8 * sizeof(Part) * static_cast<unsigned>(k)));
    }
  }
}

}  // namespace

Op pack_op(bool packs, int whole, int part) {
  using U16 = std::uint16_t;
  using U32 = std::uint32_t;
  using U64 = std::uint64_t;
  if (whole == 8 && part == 4) return packs ? pack<U64, U32> : unpack<U64, U32>;
  if (whole == 8 && part == 2) return packs ? pack<U64, U16> : unpack<U64, U16>;
  if (whole == 4 && part == 2) return packs ? pack<U32, U16> : unpack<U32, U16>;
  return nullptr;
}

// The arguments and the result are bytes of each thread's local memory, here and there.
void call(Frame& frame, const Instruction& in, const Lanes& lanes) {
  const Function& callee = *in.callee;
  Frame inner(frame.block(), callee, frame.threads());
  for (int j = 0; j < lanes.count; ++j) {
    const int i = lanes.at[j];
    for (std::size_t k = 0; k < callee.formals.size(); ++k) {
      const auto [here, there] = in.arguments[k];
      std::memcpy(inner.local(i) + there, frame.local(i) + here, callee.formals[k].bytes);
    }
  }
  inner.begin(lanes);
  inner.run();
  if (callee.result == kNowhere) return;
  const auto [here, there] = in.arguments.back();
  for (int j = 0; j < lanes.count; ++j) {
    const int i = lanes.at[j];
    std::memcpy(frame.local(i) + here, inner.local(i) + there, callee.result_bytes);
  }
}

}  // namespace weft::ptx_on_cpu
