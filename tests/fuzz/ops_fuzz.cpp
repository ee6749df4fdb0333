#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <new>
#include <optional>
#include <string>

#include "cpu/runtime/threads.h"
#include "tests/fuzz/op_case.h"

// The functions of weft/ops.h and weft/nn/loss.h with arguments that an input draws. Each either throws an exception of
// weft's or std::bad_alloc and has changed nothing, or its results and gradients have the same bits with one thread and
// with three, and a view gives what its dense copy gives.

namespace weft::fuzz {
namespace {

constexpr std::size_t kMostBytes = std::size_t{16} << 20;  // of one block of memory that weft asks for
constexpr double kMostWork = 4e6;                          // steps of a call, which may take a microsecond each

struct Outcome {
  std::vector<Array> results, gradients;
  std::string error;
  bool no_memory = false;  ///< or no gradients: nothing to compare
};

Array dense_copy(const Array& array) {
  Array copy = Array::empty(array.shape(), array.dtype());
  copy.copy_from(array);
  return copy;
}

/// The memory below an array, gaps included.
std::string memory_of(const Array& array) {
  return std::string(static_cast<const char*>(array.storage()->data()), array.storage()->bytes());
}

bool has_half(const std::vector<Tensor>& tensors) {
  return std::any_of(tensors.begin(), tensors.end(), [](const Tensor& tensor) {
    return tensor.defined() && (tensor.dtype() == DType::f16 || tensor.dtype() == DType::bf16);
  });
}

/// The function of the case and its gradients, with leaves of its own over the same memory.
Outcome run(const Case& drawn, const std::vector<Tensor>& inputs, int threads) {
  cpu::set_thread_count(threads);
  manual_seed(7);
  std::vector<Tensor> leaves;
  for (const Tensor& input : inputs) {
    leaves.push_back(input.defined() ? Tensor(input.array(), input.requires_grad()) : Tensor());
  }
  Outcome outcome;
  std::vector<Tensor> results;
  try {
    results = drawn.call(leaves);
  } catch (const OutOfMemoryError&) {
    outcome.no_memory = true;
  } catch (const Error& error) {
    outcome.error = error.what();
  } catch (const std::bad_alloc&) {
    outcome.no_memory = true;
  }
  for (const Tensor& leaf : leaves) {
    if (leaf.defined() && leaf.grad().defined()) fail("a gradient without backward");
  }
  for (const Tensor& result : results) outcome.results.push_back(result.array());
  try {
    for (const Tensor& result : results) {
      if (!result.requires_grad() || result.size() > (1 << 20)) continue;
      result.backward(Tensor(Array::full(result.shape(), 0.5, result.dtype())));
      break;
    }
    for (const Tensor& leaf : leaves) {
      if (leaf.defined() && leaf.grad().defined()) {
        if (leaf.grad().shape() != leaf.shape()) fail("a gradient of another shape");
        outcome.gradients.push_back(leaf.grad().array());
      }
    }
  } catch (const OutOfMemoryError&) {
    outcome.gradients.clear();
    outcome.no_memory = true;
  } catch (const DTypeError& error) {  // the CPU stores f16 and bf16, but does not compute with them
    outcome.gradients.clear();
    outcome.no_memory = true;
    if (!has_half(leaves) && !has_half(results)) fail(std::string("backward: ") + error.what());
  } catch (const Error& error) {  // a leaf of stride 0 may have a gradient that nobody has memory for
    outcome.gradients.clear();
    outcome.no_memory = true;
    const bool huge = std::any_of(leaves.begin(), leaves.end(),
                                  [](const Tensor& leaf) { return leaf.defined() && leaf.size() > (1 << 20); });
    if (!huge) fail(std::string("backward: ") + error.what());
  } catch (const std::bad_alloc&) {
    outcome.gradients.clear();
    outcome.no_memory = true;
  }
  return outcome;
}

void check(const Case& drawn, const Outcome& a, const Outcome& b, const char* what, bool same_bits) {
  if (a.no_memory || b.no_memory) return;
  const std::string where = std::string(what) + ": ";
  if (a.error.empty() != b.error.empty() || (same_bits && a.error != b.error)) {
    fail(where + "'" + a.error + "' and '" + b.error + "'");
  }
  if (a.results.size() != b.results.size()) fail(where + "the number of results");
  for (std::size_t i = 0; i < a.results.size(); ++i) {
    if (!agree(a.results[i], b.results[i], same_bits ? Match::bits : drawn.match, drawn.tolerance)) {
      fail(where + "result " + std::to_string(i) + "\n" + to_string(a.results[i]) + "\n" + to_string(b.results[i]));
    }
  }
  if (a.gradients.size() != b.gradients.size()) fail(where + "the number of gradients");
  const Match match = drawn.match == Match::exact ? Match::close : drawn.match;  // broadcast operands' are sums
  for (std::size_t i = 0; i < a.gradients.size(); ++i) {
    if (!agree(a.gradients[i], b.gradients[i], same_bits ? Match::bits : match, 10 * drawn.tolerance)) {
      fail(where + "gradient " + std::to_string(i) + "\n" + to_string(a.gradients[i]) + "\n" +
           to_string(b.gradients[i]));
    }
  }
}

std::optional<Case> draw(OpInput& in) {
  const int number = in.byte() % 128, group = number / 32;
  const std::span<const Draw> families = group == 0   ? basic_families()
                                         : group == 1 ? window_families()
                                         : group == 2 ? layer_families()
                                                      : indexing_families();
  const auto place = static_cast<std::size_t>(number % 32);
  if (place >= families.size()) return {};
  in.special = in.rarely(4);
  try {
    Case drawn = families[place](in);
    if (in.special) drawn.match = Match::none;
    return drawn;
  } catch (const Error&) {  // a shape of more elements than can be counted
    return {};
  }
}

void run(OpInput in) {
  const std::optional<Case> drawn = draw(in);
  if (!drawn || !(drawn->work <= kMostWork)) return;
  std::vector<std::string> before;
  std::vector<Tensor> dense;
  bool has_dense = drawn->has_dense;
  for (const Tensor& input : drawn->inputs) {
    before.push_back(input.defined() ? memory_of(input.array()) : "");
    if (!input.defined()) {
      dense.emplace_back();
    } else if (input.size() > (1 << 18)) {
      has_dense = false;
    } else {
      dense.emplace_back(dense_copy(input.array()), input.requires_grad());
    }
  }
  const auto check_inputs = [&](const Outcome& outcome) {
    for (std::size_t i = 0; i < before.size(); ++i) {
      if (!drawn->inputs[i].defined()) continue;
      const bool may_change = (drawn->changes >> i & 1) != 0;
      if (memory_of(drawn->inputs[i].array()) == before[i]) continue;
      if (!may_change || !outcome.error.empty()) fail("argument " + std::to_string(i) + " has changed");
      std::memcpy(drawn->inputs[i].array().storage()->data(), before[i].data(), before[i].size());
    }
  };
  const Outcome one = run(*drawn, drawn->inputs, 1);
  check_inputs(one);
  const Outcome three = run(*drawn, drawn->inputs, 3);
  check_inputs(three);
  check(*drawn, one, three, "one thread and three", true);
  if (has_dense) check(*drawn, one, run(*drawn, dense, 1), "a view and its dense copy", false);
}

}  // namespace
}  // namespace weft::fuzz

// The linker's --wrap takes all calls of posix_memalign here: arrays and scratch memory of more than kMostBytes are not
// had, so that no input needs much memory, or much time to fill it.
extern "C" int __real_posix_memalign(void** address, std::size_t alignment, std::size_t bytes);
extern "C" int __wrap_posix_memalign(void** address, std::size_t alignment, std::size_t bytes) {
  return bytes > weft::fuzz::kMostBytes ? ENOMEM : __real_posix_memalign(address, alignment, bytes);
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  weft::fuzz::run(weft::fuzz::OpInput(data, size));
  return 0;
}
