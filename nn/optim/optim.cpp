#include "weft/nn/optim.h"

#include <algorithm>
#include <map>
#include <set>

#include "layers/check.h"
#include "layers/load_report.h"
#include "weft/graph.h"

namespace weft::nn {
namespace {

/// Whether equal positions in memory are equal elements.
bool same_order(const Layout& a, const Layout& b) {
  if (a.shape != b.shape) return false;
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

bool matches(const Array& array, const Array& parameter) {
  return array.dtype() == parameter.dtype() && array.device() == parameter.device() &&
         same_order(array.layout(), parameter.layout());
}

/// `array` itself where it has those already.
Array matched(const Array& array, const Array& parameter) {
  return matches(array, parameter) ? array : copied(array, parameter);
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
  if (gradient.shape() != value.shape()) {
    throw ShapeError(which + " has shape " + to_string(value.shape()) + " but its gradient has " +
                     to_string(gradient.shape()));
  }
}

/// Reads the entries of an optimizer's state by name, and reports those that are missing or do not fit.
class StateReader {
 public:
  StateReader(LoadReport& report, const StateDict& state) : report_(report), state_(state) {}

  bool has(const std::string& name) const { return state_.count(name) != 0; }
  /// The array of that name and shape, or an undefined one. Reports a missing one if it is `required`.
  Array array(const std::string& name, const Shape& shape, bool required) {
    known_.insert(name);
    const auto found = state_.find(name);
    if (found == state_.end()) {
      if (required) report_.missing(name);
      return {};
    }
    return report_.fits(name, found->second, shape) ? found->second : Array();
  }
  /// A whole number, which is a float in files of other libraries.
  std::int64_t count(const std::string& name, bool required) {
    const Array value = array(name, {}, required);
    const double count = value.defined() ? value.item<double>() : 0;
    if (count >= 0 && count <= 0x1p53 && count == std::trunc(count)) return static_cast<std::int64_t>(count);
    report_.mismatch(name, " is " + to_string(Scalar(count)));
    return 0;
  }
  /// Reports the entries that nobody asked for.
  void report_unread() {
    for (const auto& entry : state_) {
      if (known_.count(entry.first) == 0) report_.unexpected(entry.first);
    }
  }

 private:
  LoadReport& report_;
  const StateDict& state_;
  std::set<std::string> known_;
};

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
  std::map<const Array*, std::size_t> seen;
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    const Tensor& parameter = parameters_[i];
    if (!parameter.defined() || !parameter.is_leaf()) {
      throw ValueError(name_ + ": parameter " + std::to_string(i) + " is " +
                       (parameter.defined() ? "the result of an op, not a leaf" : "undefined"));
    }
    // All handles of a tensor return the same array, at one address.
    const auto [found, is_new] = seen.emplace(&parameter.array(), i);
    if (!is_new) {
      throw ValueError(name_ + ": parameters " + std::to_string(found->second) + " and " + std::to_string(i) +
                       " are the same tensor");
    }
  }
}

void Optimizer::zero_grad() {
  for (Tensor& parameter : parameters_) parameter.zero_grad();
}

const Array* Optimizer::rate_on(const Device& device) const {
  const auto found =
      std::find_if(rates_.begin(), rates_.end(), [&](const Rate& rate) { return rate.device == device; });
  return found == rates_.end() ? nullptr : &found->lr;
}

bool Optimizer::has_state(std::size_t parameter) const {
  const Array& value = parameters_[parameter].array();
  const State& state = states_[parameter];
  for (std::size_t which = 0; which < state_names_.size(); ++which) {
    if (!state.arrays[which].defined() || !matches(state.arrays[which], value)) return false;
  }
  return !counts_steps_ || (state.step.defined() && state.step.device() == value.device());
}

Optimizer::State Optimizer::state_of(std::size_t parameter) const {
  const Array& value = parameters_[parameter].array();
  State state = states_[parameter];
  for (std::size_t which = 0; which < state_names_.size(); ++which) {
    Array& array = state.arrays[which];
    if (array.defined()) {
      array = matched(array, value);
    } else {
      array = Array::empty_like(value.layout(), value.dtype(), value.device());
      array.fill(0);
    }
  }
  if (counts_steps_) {
    state.step = state.step.defined() ? state.step.to(value.device()) : Array::full({}, 0, DType::i64, value.device());
  }
  return state;
}

void Optimizer::step() {
  std::vector<std::pair<std::size_t, Array>> gradients;
  gradients.reserve(parameters_.size());
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    const Tensor gradient = parameters_[i].grad();
    if (!gradient.defined()) continue;
    check_steppable(name_, i, parameters_[i].array(), gradient.array());
    gradients.emplace_back(i, gradient.array());
  }
  if (gradients.empty()) return;
  record_for(parameters_);
  if (is_recording() && std::any_of(gradients.begin(), gradients.end(), [&](const auto& entry) {
        return !has_state(entry.first) || rate_on(parameters_[entry.first].device()) == nullptr;
      })) {
    throw NotRecordable(name_ + ": a first step makes the state of its parameters, which cannot be recorded");
  }

  std::vector<Device> devices;
  std::vector<std::vector<ParameterStep>> steps;
  std::vector<std::pair<std::size_t, State>> made;  // taken over once their parameters are stepped
  for (auto& [i, gradient] : gradients) {
    const Array& value = parameters_[i].array();
    gradient = matched(gradient, value);
    const State& state = has_state(i) ? states_[i] : made.emplace_back(i, state_of(i)).second;
    const auto device = std::find(devices.begin(), devices.end(), value.device());
    const auto index = static_cast<std::size_t>(device - devices.begin());
    if (device == devices.end()) {
      devices.push_back(value.device());
      steps.emplace_back().reserve(gradients.size());
    }
    steps[index].push_back({value, gradient, state.arrays[0], state.arrays[1], state.step});
  }
  for (const Device& device : devices) {
    if (rate_on(device) == nullptr) rates_.push_back({device, Array::full({}, lr_, DType::f64, device)});
  }

  for (std::size_t d = 0; d < devices.size(); ++d) {
    const auto is_here = [&](std::size_t i) { return parameters_[i].device() == devices[d]; };
    update(steps[d], *rate_on(devices[d]));
    for (auto& [i, state] : made) {
      if (is_here(i)) states_[i] = std::move(state);
    }
  }
  std::erase_if(rates_, [&](const Rate& rate) {
    return std::none_of(parameters_.begin(), parameters_.end(),
                        [&](const Tensor& parameter) { return parameter.device() == rate.device; });
  });
}

void Optimizer::set_lr(double lr) {
  require_not_negative(name_, "lr", lr);
  if (lr == lr_) return;
  for (Rate& rate : rates_) rate.lr.fill(lr);
  lr_ = lr;
}

StateDict Optimizer::state_dict() const {
  StateDict state;
  state.emplace("lr", Array::full({}, lr_, DType::f64));
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    const auto add = [&](const std::string& name, const Array& array) {
      if (array.defined()) state.emplace(std::to_string(i) + "." + name, array);
    };
    for (std::size_t which = 0; which < state_names_.size(); ++which)
      add(state_names_[which], states_[i].arrays[which]);
    add("step", states_[i].step);
  }
  return state;
}

void Optimizer::load_state_dict(const StateDict& state) {
  LoadReport report(name_ + "::load_state_dict");
  StateReader reader(report, state);
  const Array lr = reader.array("lr", {}, true);
  const bool has_one_count = counts_steps_ && reader.has("step");
  const std::int64_t one_count = has_one_count ? reader.count("step", true) : 0;
  std::vector<State> states(parameters_.size());
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    // A parameter that was never stepped has no state, but it cannot have half of one.
    const std::string prefix = std::to_string(i) + ".";
    const bool has_own_count = counts_steps_ && !has_one_count;
    const bool stepped = std::any_of(state_names_.begin(), state_names_.end(),
                                     [&](const std::string& name) { return reader.has(prefix + name); }) ||
                         (has_own_count && reader.has(prefix + "step"));
    for (std::size_t which = 0; which < state_names_.size(); ++which) {
      states[i].arrays[which] = reader.array(prefix + state_names_[which], parameters_[i].shape(), stepped);
    }
    const std::int64_t count = has_own_count ? reader.count(prefix + "step", stepped) : one_count;
    if (counts_steps_ && stepped) states[i].step = Array::full({}, count, DType::i64, parameters_[i].device());
  }
  reader.report_unread();
  const double new_lr = lr.defined() ? lr.item<double>() : 0;
  if (lr.defined() && !is_floating_point(lr.dtype())) report.mismatch("lr", " is of " + std::string(name(lr.dtype())));
  if (!(new_lr >= 0 && std::isfinite(new_lr))) report.mismatch("lr", " is " + to_string(Scalar(new_lr)));
  report.throw_if_any();
  replace_states(std::move(states));
  set_lr(new_lr);
}

void Optimizer::replace_states(std::vector<State> states) {
  // Arrays that a parameter has already stay in place, because a recorded step writes to them. The state of a parameter
  // that was never stepped is 0.
  std::vector<std::pair<Array, Array>> in_place;
  const auto keep = [&](const Array& own, Array& loaded) {
    in_place.emplace_back(own, loaded.defined() ? loaded : Array::full({}, 0, own.dtype(), own.device()));
    loaded = own;
  };
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    const Array& value = parameters_[i].array();
    for (std::size_t which = 0; which < state_names_.size(); ++which) {
      Array& array = states[i].arrays[which];
      if (array.defined()) array = copied(array, value);
      const Array& own = states_[i].arrays[which];
      if (own.defined() && matches(own, value)) keep(own, array);
    }
    const Array& step = states_[i].step;
    if (step.defined() && step.device() == value.device()) keep(step, states[i].step);
  }
  for (auto& [own, loaded] : in_place) own.copy_from(loaded);
  states_ = std::move(states);
}

}  // namespace weft::nn
