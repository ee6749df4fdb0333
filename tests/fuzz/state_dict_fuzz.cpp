#include <cmath>
#include <functional>
#include <memory>
#include <new>
#include <string>
#include <string_view>
#include <vector>

#include "core/io/parse.h"
#include "tests/fuzz/fuzz_input.h"
#include "weft/weft.h"

// State dicts into models and optimizers: what the input describes, or the tensors of a safetensors file that is the
// rest of it. One is refused with a typed error and nothing has changed, or it is loaded and read back.

namespace weft::fuzz {
namespace {

using nn::StateDict;

std::string bytes_of(const Array& array) {
  const Array dense = array.contiguous();
  return to_string(dense.shape()) + std::string(name(dense.dtype())) +
         std::string(static_cast<const char*>(dense.data()),
                     static_cast<std::size_t>(dense.size()) * size_of(dense.dtype()));
}

std::vector<std::string> bits_of(const StateDict& state) {
  std::vector<std::string> bits;
  for (const auto& [name, array] : state) bits.push_back(name + " " + bytes_of(array));
  return bits;
}

nn::Sequential make_model() {
  return nn::Sequential(nn::Linear(3, 2), nn::BatchNorm1d(2), nn::Residual(nn::Linear(2, 2, {.bias = false})));
}

void give_gradients(const nn::Module& model) {
  for (Tensor parameter : model.parameters()) parameter.set_grad(ones_like(parameter));
}

Array draw_array(Input& input, const Shape& expected) {
  static const DType dtypes[] = {DType::f32, DType::f64, DType::f16, DType::bf16,
                                 DType::i64, DType::i32, DType::u8,  DType::boolean};
  if (input.rarely(32)) return Array();
  Shape shape = expected;
  if (input.rarely(8)) {
    shape = {};
    for (int rank = input.below(5); rank > 0; --rank) shape.push_back(input.below(5));
  }
  const DType dtype = dtypes[input.rarely(2) ? input.below(8) : 0];
  static const double values[] = {0, 1, 0.5, 3, -1, 1e-45, 1e300, HUGE_VAL, -HUGE_VAL, NAN, 9007199254740992.0, 1e19};
  const double value = input.rarely(4) ? values[input.below(12)] : input.byte();
  Array array = Array::full(shape, value, DType::f64).to(dtype);
  if (input.rarely(4)) {  // the same shape reversed along its first axis, or of stride 0
    Layout layout = array.layout();
    if (layout.rank() > 0 && layout.shape[0] > 0) {
      layout.offset = input.flag() ? (layout.shape[0] - 1) * layout.strides[0] : 0;
      layout.strides[0] = layout.offset == 0 ? 0 : -layout.strides[0];
      array = array.view(layout);
    }
  }
  return array;
}

/// The target's own names, with arrays missing, misshapen, of other dtypes; and other names.
StateDict draw_state(Input& input, const StateDict& own) {
  StateDict state;
  for (const auto& [name, array] : own) {
    if (!input.rarely(16)) state[name] = draw_array(input, array.shape());
  }
  static const char* const names[] = {
      "lr",      "step",   "0.step", "1.exp_avg",  "0.exp_avg_sq", "0.momentum_buffer",
      "99.step", "0.",     "",       "00.step",    "-1.step",      "0.weight",
      "0.bias",  "4.step", ".",      "2.momentum", "0.velocity",   "18446744073709551616.step"};
  for (int extra = input.rarely(3) ? input.below(4) : 0; extra > 0; --extra) {
    const int which = input.below(19);
    state[which < 18 ? names[which] : input.text(20)] = draw_array(input, {});
  }
  return state;
}

/// Loads; after an error the bits have to be as before. Returns whether it was loaded.
bool try_load(const std::function<StateDict()>& read, const std::function<void()>& load) {
  const auto before = bits_of(read());
  try {
    load();
    return true;
  } catch (const Error&) {
  } catch (const std::bad_alloc&) {
  }
  if (bits_of(read()) != before) fail("a state dict that was refused has changed something");
  return false;
}

std::unique_ptr<nn::Optimizer> make_optimizer(int which, const std::vector<Tensor>& parameters) {
  if (which == 0) return std::make_unique<nn::SGD>(parameters, nn::SGDOptions{.lr = 0.1, .momentum = 0.9});
  if (which == 1) return std::make_unique<nn::Adam>(parameters);
  if (which == 2) return std::make_unique<nn::AdamW>(parameters);
  return std::make_unique<nn::SGD>(parameters);
}

/// What the rest of the input holds as a safetensors file; nothing where it is none.
StateDict file_state(const Input& input) {
  io::MemorySource source("input",
                          std::string_view(reinterpret_cast<const char*>(input.position()), input.remaining()));
  try {
    return io::read_safetensors(source).arrays;
  } catch (const FormatError&) {
    return {};
  }
}

void run(Input input) {
  const int target = input.below(6);
  const bool from_file = input.rarely(4), strict = !input.rarely(3), stepped = input.flag();
  nn::Sequential model = make_model();
  if (input.rarely(8)) model.to(DType::f64);
  if (target < 2) {
    const StateDict state = from_file ? file_state(input) : draw_state(input, model.state_dict());
    const bool loaded = try_load([&] { return model.state_dict(); }, [&] { model.load_state_dict(state, strict); });
    if (!loaded) return;
    for (const auto& [name, array] : model.state_dict()) {
      const auto found = state.find(name);
      if (found == state.end()) {
        if (strict) fail("a missing name was not reported");
      } else if (bytes_of(found->second.to(array.dtype())) != bytes_of(array)) {
        fail("what was loaded is not what was given");
      }
    }
    model.eval();
    model(zeros({2, 3}, {.dtype = model.parameters()[0].dtype()}));
    return;
  }
  const auto optimizer = make_optimizer(target - 2, model.parameters());
  if (stepped) {
    give_gradients(model);
    optimizer->step();
  }
  // The names that a state may have are those of an optimizer that was stepped.
  nn::Sequential other = make_model();
  const auto stepped_optimizer = make_optimizer(target - 2, other.parameters());
  give_gradients(other);
  stepped_optimizer->step();
  const StateDict state = from_file ? file_state(input) : draw_state(input, stepped_optimizer->state_dict());
  const auto read = [&] { return optimizer->state_dict(); };
  const double lr = optimizer->lr();
  if (!try_load(read, [&] { optimizer->load_state_dict(state); })) {
    if (optimizer->lr() != lr) fail("a state dict that was refused has changed the rate");
    return;
  }
  const auto first = bits_of(read());
  optimizer->load_state_dict(read());
  if (bits_of(read()) != first) fail("an optimizer's own state changes it");
  give_gradients(model);
  optimizer->step();
}

}  // namespace
}  // namespace weft::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  weft::fuzz::run(weft::fuzz::Input(data, size));
  return 0;
}
