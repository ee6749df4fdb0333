#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

#include "frame.h"

// How an instruction becomes a loop over threads. The files ops_*.cpp put every form that they know into a table.

#if defined(__clang__)
#define WEFT_INDEPENDENT _Pragma("clang loop vectorize(assume_safety)")
#else
#define WEFT_INDEPENDENT _Pragma("GCC ivdep")
#endif

namespace weft::ptx_on_cpu {

/// f(thread) for each.
template <class F>
void for_each(const Lanes& lanes, F f) {
  if (lanes.dense) {
    WEFT_INDEPENDENT
    for (int i = lanes.first; i < lanes.first + lanes.count; ++i) f(i);
  } else {
    for (int k = 0; k < lanes.count; ++k) f(int{lanes.at[k]});
  }
}

/// One form of an instruction with plain operands: the bytes of each register, the destinations first.
struct Form {
  Op op = nullptr;
  int destinations = 1;
  std::vector<int> widths = {};
};

class Forms {
 public:
  /// d = F{}(s...) in every thread; F has no state.
  template <class D, class... S, class F>
  void add(const std::string& name, F) {
    table_[name] = {&Forms::loop<F, D, S...>, 1, {int{sizeof(D)}, int{sizeof(S)}...}};
  }
  void add(const std::string& name, Form form) { table_[name] = std::move(form); }
  const Form* find(const std::string& name) const {
    const auto found = table_.find(name);
    return found == table_.end() ? nullptr : &found->second;
  }

 private:
  template <class F, class D, class A>
  static void loop(Frame& frame, const Instruction& in, const Lanes& lanes) {
    D* const d = frame.reg<D>(in.registers[0]);
    const A* const a = frame.reg<A>(in.registers[1]);
    for_each(lanes, [=](int i) { d[i] = static_cast<D>(F{}(a[i])); });
  }
  template <class F, class D, class A, class B>
  static void loop(Frame& frame, const Instruction& in, const Lanes& lanes) {
    D* const d = frame.reg<D>(in.registers[0]);
    const A* const a = frame.reg<A>(in.registers[1]);
    const B* const b = frame.reg<B>(in.registers[2]);
    for_each(lanes, [=](int i) { d[i] = static_cast<D>(F{}(a[i], b[i])); });
  }
  template <class F, class D, class A, class B, class C>
  static void loop(Frame& frame, const Instruction& in, const Lanes& lanes) {
    D* const d = frame.reg<D>(in.registers[0]);
    const A* const a = frame.reg<A>(in.registers[1]);
    const B* const b = frame.reg<B>(in.registers[2]);
    const C* const c = frame.reg<C>(in.registers[3]);
    for_each(lanes, [=](int i) { d[i] = static_cast<D>(F{}(a[i], b[i], c[i])); });
  }
  template <class F, class D, class A, class B, class C, class E>
  static void loop(Frame& frame, const Instruction& in, const Lanes& lanes) {
    D* const d = frame.reg<D>(in.registers[0]);
    const A* const a = frame.reg<A>(in.registers[1]);
    const B* const b = frame.reg<B>(in.registers[2]);
    const C* const c = frame.reg<C>(in.registers[3]);
    const E* const e = frame.reg<E>(in.registers[4]);
    for_each(lanes, [=](int i) { d[i] = static_cast<D>(F{}(a[i], b[i], c[i], e[i])); });
  }

  std::unordered_map<std::string, Form> table_;
};

void add_integer_forms(Forms& forms);
void add_float_forms(Forms& forms);
void add_rounded_forms(Forms& forms);  // of the directed roundings
void add_approximate_forms(Forms& forms);
void add_convert_forms(Forms& forms);
void add_compare_forms(Forms& forms);
void add_warp_forms(Forms& forms);
/// All of them.
const Forms& forms();

/// A load or store, or null where the machine has none: the space, or "parameter", the type in memory ("u8"), the bytes
/// of the registers.
Op memory_op(bool store, const std::string& space, const std::string& type, int width);
void atomic_increment(Frame& frame, const Instruction& in, const Lanes& lanes);
void fence(Frame& frame, const Instruction& in, const Lanes& lanes);
void call(Frame& frame, const Instruction& in, const Lanes& lanes);
Op matrix_load_op(bool transposed);
/// The move between a register of `whole` bytes and registers of `part` bytes; null where the machine has none.
Op pack_op(bool packs, int whole, int part);

/// What arithmetic of a GPU makes of a NaN.
inline float canonical(float x) { return x != x ? std::bit_cast<float>(0x7FFFFFFFu) : x; }
inline double canonical(double x) { return x; }

}  // namespace weft::ptx_on_cpu
