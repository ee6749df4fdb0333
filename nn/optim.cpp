#include "weft/nn/optim.h"

#include <algorithm>
#include <map>
#include <set>

#include "core/backend.h"
#include "nn/check.h"
#include "nn/load_report.h"

namespace weft::nn {
namespace {

/// Whether equal positions in memory are equal elements.
bool same_order(const Layout& a, const Layout& b) {
  if (!(a.shape == b.shape)) return false;
  for (int axis = 0; axis < a.rank(); ++axis) {
    if (a.shape[axis] > 1 && a.strides[axis] != b.strides[axis]) return false;
  }
  return true;
}

/// A copy of `array` with the dtype, device and order of axes of `parameter`.
Array copied(const Array& array, const Array& parameter) {
  Array out = Array::empty_like(parameter.layout(), parameter.dtype(), parameter.device());
  out.copy_from(array);
  return out;
}

/// `array` itself where it has those already.
Array matched(const Array& array, const Array& parameter) {
  const bool matches = array.dtype() == parameter.dtype() && array.device() == parameter.device() &&
                       same_order(array.layout(), parameter.layout());
  return matches ? array : copied(array, parameter);
}

void check_steppable(const std::string& owner, std::size_t index, const Array& value, const Array& gradient) {
  const std::string which = owner + ": parameter " + std::to_string(index);
  if (value.dtype() != DType::f32 && value.dtype() != DType::f64) {
    throw DTypeError(which + " is " + std::string(name(value.dtype())) + ", only f32 and f64 are stepped");
  }
  if (!value.layout().is_dense()) {
    throw ShapeError(which + " of shape " + to_string(value.shape()) + " and strides " + to_string(value.strides()) +
                     " is not dense");
  }
  if (!(gradient.shape() == value.shape())) {
    throw ShapeError(which + " has shape " + to_string(value.shape()) + " but its gradient has " +
                     to_string(gradient.shape()));
  }
}

}  // namespace

Optimizer::Optimizer(std::string name, std::vector<Tensor> parameters, double lr, std::vector<std::string> state_names,
                     bool counts_steps)
    : name_(std::move(name)),
      parameters_(std::move(parameters)),
      state_names_(std::move(state_names)),
      states_(parameters_.size()),
      lr_(lr),
      counts_steps_(counts_steps) {
  require_not_negative(name_, "lr", lr);
  if (parameters_.empty()) throw ValueError(name_ + ": the list of parameters is empty");
  std::map<const TensorState*, std::size_t> seen;
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    const Tensor& parameter = parameters_[i];
    if (!parameter.defined() || !parameter.is_leaf()) {
      throw ValueError(name_ + ": parameter " + std::to_string(i) + " is " +
                       (parameter.defined() ? "the result of an op, not a leaf" : "undefined"));
    }
    const auto [found, is_new] = seen.emplace(parameter.state().get(), i);
    if (!is_new) {
      throw ValueError(name_ + ": parameters " + std::to_string(found->second) + " and " + std::to_string(i) +
                       " are the same tensor");
    }
  }
}

void Optimizer::zero_grad() {
  for (Tensor& parameter : parameters_) parameter.zero_grad();
}

Optimizer::Clock& Optimizer::clock(const Device& device) {
  for (Clock& clock : clocks_) {
    if (clock.device == device) return clock;
  }
  Array step = clocks_.empty() ? Array::full({}, first_step_, DType::i64, device) : clocks_.front().step.to(device);
  return clocks_.emplace_back(Clock{device, Array::full({}, lr_, DType::f64, device), std::move(step)});
}

Array& Optimizer::state(std::size_t parameter, std::size_t which) {
  Array& array = states_[parameter][which];
  const Array& value = parameters_[parameter].array();
  if (array.defined()) {
    array = matched(array, value);
  } else {
    array = Array::empty_like(value.layout(), value.dtype(), value.device());
    array.fill(0);
  }
  return array;
}

void Optimizer::step() {
  std::vector<std::pair<std::size_t, Array>> gradients;
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    const Tensor gradient = parameters_[i].grad();
    if (!gradient.defined()) continue;
    check_steppable(name_, i, parameters_[i].array(), gradient.array());
    gradients.emplace_back(i, matched(gradient.array(), parameters_[i].array()));
  }
  if (gradients.empty()) return;

  // A step counts on every device that holds parameters, so that their counts stay equal.
  std::vector<Device> devices;
  for (const Tensor& parameter : parameters_) {
    if (std::find(devices.begin(), devices.end(), parameter.device()) == devices.end()) {
      devices.push_back(parameter.device());
    }
  }
  std::vector<std::vector<OptimizerTensor>> tensors(devices.size());
  for (const auto& [i, gradient] : gradients) {
    const Array& value = parameters_[i].array();
    OptimizerTensor tensor{value.data(), gradient.data(), nullptr, nullptr, value.size(), value.dtype()};
    if (!state_names_.empty()) tensor.first = state(i, 0).data();
    if (state_names_.size() > 1) tensor.second = state(i, 1).data();
    tensors[static_cast<std::size_t>(std::find(devices.begin(), devices.end(), value.device()) - devices.begin())]
        .push_back(tensor);
  }
  for (const Device& device : devices) clock(device);
  for (std::size_t d = 0; d < devices.size(); ++d) {
    const Clock& time = clock(devices[d]);
    update(devices[d], tensors[d], time.lr, time.step);
  }
  for (const auto& entry : gradients) parameters_[entry.first].array().storage()->bump_version();
  std::erase_if(clocks_, [&](const Clock& clock) {
    return std::find(devices.begin(), devices.end(), clock.device) == devices.end();
  });
}

void Optimizer::set_lr(double lr) {
  require_not_negative(name_, "lr", lr);
  if (lr == lr_) return;
  for (Clock& clock : clocks_) clock.lr.fill(lr);
  lr_ = lr;
}

StateDict Optimizer::state_dict() const {
  StateDict state;
  state.emplace("lr", Array::full({}, lr_, DType::f64));
  if (counts_steps_) {
    state.emplace("step", clocks_.empty() ? Array::full({}, first_step_, DType::i64) : clocks_.front().step);
  }
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    for (std::size_t which = 0; which < state_names_.size(); ++which) {
      const Array& array = states_[i][which];
      if (array.defined()) state.emplace(std::to_string(i) + "." + state_names_[which], array);
    }
  }
  return state;
}

void Optimizer::load_state_dict(const StateDict& state) {
  LoadReport report(name_ + "::load_state_dict");
  std::set<std::string> known;
  const auto find = [&](const std::string& name, const Shape& shape, bool required) {
    known.insert(name);
    const auto found = state.find(name);
    if (found == state.end()) {
      if (required) report.missing(name);
      return Array();
    }
    return report.fits(name, found->second, shape) ? found->second : Array();
  };
  const Array lr = find("lr", {}, true);
  const Array step = counts_steps_ ? find("step", {}, true) : Array();
  std::vector<std::array<Array, 2>> states(parameters_.size());
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    // A parameter that was never stepped has no state, but it cannot have half of one.
    const std::string prefix = std::to_string(i) + ".";
    const bool stepped = std::any_of(state_names_.begin(), state_names_.end(),
                                     [&](const std::string& name) { return state.count(prefix + name) != 0; });
    for (std::size_t which = 0; which < state_names_.size(); ++which) {
      states[i][which] = find(prefix + state_names_[which], parameters_[i].shape(), stepped);
    }
  }
  for (const auto& entry : state) {
    if (known.count(entry.first) == 0) report.unexpected(entry.first);
  }
  const double new_lr = lr.defined() ? lr.item<double>() : 0;
  const double counted = step.defined() ? step.item<double>() : 0;  // a float in other libraries' files
  if (lr.defined() && !is_floating_point(lr.dtype())) report.mismatch("lr is of " + std::string(name(lr.dtype())));
  if (!(new_lr >= 0 && std::isfinite(new_lr))) report.mismatch("lr is " + number(new_lr));
  if (!(counted >= 0 && counted <= 0x1p53 && counted == std::trunc(counted)))
    report.mismatch("step is " + number(counted));
  report.throw_if_any();

  const auto new_step = static_cast<std::int64_t>(counted);

  // Arrays that a parameter has already stay where they are, as a recorded step writes to them; what was never stepped
  // is 0.
  std::vector<std::pair<Array, Array>> in_place;
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    for (std::size_t which = 0; which < state_names_.size(); ++which) {
      const Array& value = parameters_[i].array();
      Array& array = states[i][which];
      if (array.defined()) array = copied(array, value);
      const Array& own = states_[i][which];
      if (!own.defined() || own.storage() != matched(own, value).storage()) continue;
      in_place.emplace_back(own, array.defined() ? array : Array::full({}, 0, own.dtype(), own.device()));
      array = own;
    }
  }
  for (auto& [own, loaded] : in_place) own.copy_from(loaded);
  states_ = std::move(states);
  first_step_ = new_step;
  for (Clock& clock : clocks_) clock.step.fill(new_step);
  set_lr(new_lr);
}

}  // namespace weft::nn
