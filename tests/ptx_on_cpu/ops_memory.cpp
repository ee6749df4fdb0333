#include <cstring>

#include "ops.h"

// Loads and stores, checked for alignment and bounds before anything moves; fences, the counter's atomic and calls.

namespace weft::ptx_on_cpu {

namespace {

// The address of each thread.
template <class F>
void with_address(Frame& frame, const Instruction& in, F f) {
  const auto offset = static_cast<std::uint64_t>(in.offset);
  if (in.address_width == 8) {
    f([base = frame.reg<std::uint64_t>(in.registers[15]), offset](int i) { return base[i] + offset; });
  } else if (in.address_width == 4) {
    f([base = frame.reg<std::uint32_t>(in.registers[15]), offset](int i) {
      return std::uint64_t{static_cast<std::uint32_t>(base[i] + offset)};
    });
  } else {
    f([offset](int) { return offset; });
  }
}

template <class Address>
void check_global(Frame& frame, const Instruction& in, const Lanes& lanes, std::size_t bytes, bool storing,
                  Address address) {
  std::uint64_t first = ~std::uint64_t{0}, last = 0, low = 0;
  if (lanes.dense) {
    for (int i = lanes.first; i < lanes.first + lanes.count; ++i) {
      const std::uint64_t at = address(i);
      first = at < first ? at : first;
      last = at > last ? at : last;
      low |= at;
    }
  } else {
    for (int k = 0; k < lanes.count; ++k) {
      const std::uint64_t at = address(lanes.at[k]);
      first = at < first ? at : first;
      last = at > last ? at : last;
      low |= at;
    }
  }
  const DeviceMemory& memory = *frame.block().launch().memory;
  if (low % bytes == 0 && memory.contains_all(first, last, bytes, storing)) return;
  for (int k = 0; k < lanes.count; ++k) {
    const std::uint64_t at = address(lanes.at[k]);
    const std::string thread = "thread " + std::to_string(lanes.at[k]) + (storing ? " writes " : " reads ");
    if (at % bytes != 0) frame.fail(in, "a misaligned access: " + thread + memory.describe(at, bytes));
    if (!memory.contains(at, bytes, storing)) {
      frame.fail(in, "an access out of bounds: " + thread + memory.describe(at, bytes));
    }
  }
}

// Values of type M in memory, R in registers, kCount that follow each other.
template <class M, class R, int kCount>
void load_global(Frame& frame, const Instruction& in, const Lanes& lanes) {
  with_address(frame, in, [&](auto address) {
    check_global(frame, in, lanes, sizeof(M) * kCount, false, address);
    const BlockView* const view = frame.block().view();
    R* d[kCount];
    for (int k = 0; k < kCount; ++k) d[k] = frame.reg<R>(in.registers[k]);
    for (int j = 0; j < lanes.count; ++j) {
      const int i = lanes.at[j];
      const std::uint64_t at = address(i);  // whose register may be a destination
      M values[kCount];
      if (view == nullptr) {
        std::memcpy(values, reinterpret_cast<const void*>(at), sizeof values);
      } else {
        view->load(at, values, sizeof values);
      }
      for (int k = 0; k < kCount; ++k) d[k][i] = static_cast<R>(values[k]);
    }
  });
}

template <class M, class R, int kCount>
void store_global(Frame& frame, const Instruction& in, const Lanes& lanes) {
  with_address(frame, in, [&](auto address) {
    check_global(frame, in, lanes, sizeof(M) * kCount, true, address);
    BlockView* const view = frame.block().view();
    const R* s[kCount];
    for (int k = 0; k < kCount; ++k) s[k] = frame.reg<R>(in.registers[k]);
    for (int j = 0; j < lanes.count; ++j) {
      const int i = lanes.at[j];
      const std::uint64_t at = address(i);
      M values[kCount];
      for (int k = 0; k < kCount; ++k) values[k] = static_cast<M>(s[k][i]);
      if (view == nullptr) {
        std::memcpy(reinterpret_cast<void*>(at), values, sizeof values);
      } else {
        view->store(i, at, values, sizeof values);
      }
    }
  });
}

template <class M, class R>
void from_global(Frame& frame, const Instruction& in, const Lanes& lanes) {
  if (in.elements == 1) return load_global<M, R, 1>(frame, in, lanes);
  if (in.elements == 2) return load_global<M, R, 2>(frame, in, lanes);
  load_global<M, R, 4>(frame, in, lanes);
}
template <class M, class R>
void to_global(Frame& frame, const Instruction& in, const Lanes& lanes) {
  if (in.elements == 1) return store_global<M, R, 1>(frame, in, lanes);
  if (in.elements == 2) return store_global<M, R, 2>(frame, in, lanes);
  store_global<M, R, 4>(frame, in, lanes);
}

// For shared memory and the thread's local memory.
template <bool kStore, bool kShared, class M, class R>
void access(Frame& frame, const Instruction& in, const Lanes& lanes) {
  const std::size_t bytes = sizeof(M) * in.elements;
  with_address(frame, in, [&](auto address) {
    SharedMemory& shared = frame.block().shared();
    for (int j = 0; j < lanes.count; ++j) {
      const int i = lanes.at[j];
      const std::uint64_t at = address(i);
      unsigned char* place = nullptr;
      if (kShared) {
        try {
          kStore ? shared.check_store(i, at, bytes) : shared.check_load(i, at, bytes);
        } catch (const PtxError& error) {
          frame.fail(in, error.what());
        }
        place = shared.at(at);
      } else {
        if (at % bytes != 0) frame.fail(in, "a misaligned access of local memory");
        if (at > frame.function().local_bytes || bytes > frame.function().local_bytes - at) {
          frame.fail(in, "an access outside of local memory");
        }
        place = frame.local(i) + at;
      }
      for (int k = 0; k < in.elements; ++k) {
        R& r = frame.reg<R>(in.registers[k])[i];
        M value = static_cast<M>(r);
        if (kStore) {
          std::memcpy(place + static_cast<std::size_t>(k) * sizeof(M), &value, sizeof value);
        } else {
          std::memcpy(&value, place + static_cast<std::size_t>(k) * sizeof(M), sizeof value);
          r = static_cast<R>(value);
        }
      }
    }
  });
}

template <class M, class R>
void load_parameter(Frame& frame, const Instruction& in, const Lanes& lanes) {
  const std::size_t bytes = sizeof(M) * in.elements, all = frame.function().parameter_bytes;
  with_address(frame, in, [&](auto address) {
    for (int j = 0; j < lanes.count; ++j) {
      const int i = lanes.at[j];
      const std::uint64_t at = address(i);
      if (at % bytes != 0) frame.fail(in, "a misaligned access of a parameter");
      if (at > all || bytes > all - at) frame.fail(in, "an access outside of the parameters");
      for (int k = 0; k < in.elements; ++k) {
        M value;
        std::memcpy(&value, frame.block().launch().parameters + at + static_cast<std::size_t>(k) * sizeof(M),
                    sizeof value);
        frame.reg<R>(in.registers[k])[i] = static_cast<R>(value);
      }
    }
  });
}

template <class M, class R>
Op op_of(bool store, const std::string& space) {
  if (space == "parameter") return store ? nullptr : load_parameter<M, R>;
  if (space == "global" || space == "const") return store ? to_global<M, R> : from_global<M, R>;
  if (space == "shared") return store ? access<true, true, M, R> : access<false, true, M, R>;
  if (space == "local") return store ? access<true, false, M, R> : access<false, false, M, R>;
  return nullptr;
}
// A register may be wider than what is in memory.
template <class M>
Op op_of(bool store, const std::string& space, int width) {
  constexpr bool kSigned = std::is_signed_v<M>;
  if constexpr (sizeof(M) <= 2) {
    if (width == 2) return op_of<M, std::conditional_t<kSigned, std::int16_t, std::uint16_t>>(store, space);
  }
  if constexpr (sizeof(M) <= 4) {
    if (width == 4) return op_of<M, std::conditional_t<kSigned, std::int32_t, std::uint32_t>>(store, space);
  }
  if (width == 8) return op_of<M, std::conditional_t<kSigned, std::int64_t, std::uint64_t>>(store, space);
  return nullptr;
}

}  // namespace

Op memory_op(bool store, const std::string& space, const std::string& type, int width) {
  const bool is_signed = type[0] == 's';
  switch (type_bytes(type)) {
    case 1:
      return is_signed ? op_of<std::int8_t>(store, space, width) : op_of<std::uint8_t>(store, space, width);
    case 2:
      return is_signed ? op_of<std::int16_t>(store, space, width) : op_of<std::uint16_t>(store, space, width);
    case 4:
      return is_signed ? op_of<std::int32_t>(store, space, width) : op_of<std::uint32_t>(store, space, width);
    case 8:
      return op_of<std::uint64_t>(store, space, width);
    default:
      return nullptr;
  }
}

// atom.global.inc.u32 d, [a], limit: the counter goes up, and to 0 after its limit.
void atomic_increment(Frame& frame, const Instruction& in, const Lanes& lanes) {
  std::uint32_t* const d = frame.reg<std::uint32_t>(in.registers[0]);
  const std::uint32_t* const limit = frame.reg<std::uint32_t>(in.registers[1]);
  DeviceMemory& memory = *frame.block().launch().memory;
  with_address(frame, in, [&](auto address) {
    check_global(frame, in, lanes, 4, true, address);
    for (int j = 0; j < lanes.count; ++j) {
      const int i = lanes.at[j];
      const std::uint64_t at = address(i);
      std::uint32_t old = 0;
      std::memcpy(&old, reinterpret_cast<const void*>(at), sizeof old);
      const std::uint32_t now = old >= limit[i] ? 0 : old + 1;
      frame.block().launch().shares |= limit[i] > 0;
      d[i] = old;
      if (memory.adversarial()) {
        const std::uint64_t shift = at % 8 * 8;
        memory.commit(at / 8 * 8, std::uint64_t{now} << shift, std::uint64_t{0xFFFFFFFFu} << shift);
      } else {
        std::memcpy(reinterpret_cast<void*>(at), &now, sizeof now);
      }
    }
  });
}

void fence(Frame& frame, const Instruction&, const Lanes& lanes) {
  BlockView* const view = frame.block().view();
  if (view == nullptr) return;
  view->fence(lanes.at, lanes.count);
}

}  // namespace weft::ptx_on_cpu
