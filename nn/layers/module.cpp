#include "weft/nn/module.h"

#include <algorithm>
#include <set>

#include "layers/load_report.h"
#include "weft/error.h"

namespace weft::nn {

struct Module::State {
  NamedTensors parameters, buffers;
  Children children;
  bool training = true, frozen = false;

  bool has(const std::string& name) const {
    const auto named = [&](const auto& entry) { return entry.first == name; };
    return std::any_of(parameters.begin(), parameters.end(), named) ||
           std::any_of(buffers.begin(), buffers.end(), named) || std::any_of(children.begin(), children.end(), named);
  }
  bool holds(const State* other) const {
    return this == other || std::any_of(children.begin(), children.end(),
                                        [&](const auto& child) { return child.second->state_->holds(other); });
  }
  void check_name(const std::string& name) const {
    if (name.empty() || name.find('.') != std::string::npos) {
      throw ValueError("Module: \"" + name + "\" cannot be a name: names are not empty and have no dots");
    }
    if (has(name)) throw ValueError("Module: \"" + name + "\" is registered already");
  }
  /// Appends everything in `list` (parameters or buffers) of this module and those below, with its full name.
  void collect(NamedTensors State::*list, const std::string& prefix, NamedTensors& out) const {
    for (const auto& [name, tensor] : this->*list) out.emplace_back(prefix + name, tensor);
    for (const auto& [name, child] : children) child->state_->collect(list, prefix + name + ".", out);
  }
  NamedTensors collect(NamedTensors State::*list) const {
    NamedTensors out;
    collect(list, "", out);
    return out;
  }
  NamedTensors all() const {
    NamedTensors tensors = collect(&State::parameters);
    collect(&State::buffers, "", tensors);
    return tensors;
  }
};

namespace {

NamedTensors without_repeats(const NamedTensors& tensors) {
  std::set<const Array*> seen;  // all handles of a tensor return the same array, at one address
  NamedTensors out;
  for (const auto& entry : tensors) {
    if (seen.insert(&entry.second.array()).second) out.push_back(entry);
  }
  return out;
}

/// A copy of another dtype or device in the same order of axes.
Array converted(const Array& array, DType dtype, const Device& device) {
  Array out = Array::empty_like(array.layout(), dtype, device);
  out.copy_from(array);
  return out;
}

bool is_same(const Array& a, const Array& b) {
  return a.data() == b.data() && a.dtype() == b.dtype() && a.shape() == b.shape() && a.strides() == b.strides();
}

/// Gives each tensor, and its gradient, the array that `convert` makes of it; all are made before any is replaced.
template <class Convert>
void replace_arrays(const NamedTensors& tensors, const Convert& convert) {
  struct Replacement {
    Tensor tensor;
    Array array;
    Tensor gradient;
  };
  std::vector<Replacement> replacements;
  for (const auto& entry : tensors) {
    const Tensor gradient = entry.second.grad();
    replacements.push_back({entry.second, convert(entry.second.array()),
                            gradient.defined() ? Tensor(convert(gradient.array())) : Tensor()});
  }
  for (Replacement& it : replacements) {
    it.tensor.zero_grad();
    it.tensor.set_array(std::move(it.array));
    if (it.gradient.defined()) it.tensor.set_grad(it.gradient);
  }
}

}  // namespace

Module::Module() : state_(std::make_shared<State>()) {}

NamedTensors Module::named_parameters() const { return without_repeats(state_->collect(&State::parameters)); }
NamedTensors Module::named_buffers() const { return without_repeats(state_->collect(&State::buffers)); }

std::vector<Tensor> Module::parameters() const {
  std::vector<Tensor> tensors;
  for (const auto& entry : named_parameters()) tensors.push_back(entry.second);
  return tensors;
}

const Module::Children& Module::named_children() const { return state_->children; }

std::int64_t Module::parameter_count() const {
  std::int64_t count = 0;
  for (const Tensor& parameter : parameters()) count += parameter.size();
  return count;
}

StateDict Module::state_dict() const {
  StateDict state;
  for (const auto& [name, tensor] : state_->all()) state.emplace(name, tensor.array());
  return state;
}

void Module::load_state_dict(const StateDict& state, bool strict) {
  LoadReport report("load_state_dict");
  std::vector<std::pair<Array, Array>> copies;
  StateDict own = state_dict();
  for (const auto& [name, array] : own) {
    const auto found = state.find(name);
    if (found == state.end()) {
      if (strict) report.missing(name);
    } else if (report.fits(name, found->second, array.shape()) && !is_same(found->second, array)) {
      copies.emplace_back(array, found->second);
    }
  }
  for (const auto& entry : state) {
    if (strict && own.count(entry.first) == 0) report.unexpected(entry.first);
  }
  report.throw_if_any();
  // Conversions may fail for want of memory, so they come before the first write; so do copies of what is written.
  std::set<const Storage*> written;
  for (const auto& entry : copies) written.insert(entry.first.storage().get());
  for (auto& [target, source] : copies) {
    if (source.device() != target.device() || source.dtype() != target.dtype() ||
        written.count(source.storage().get()) != 0) {
      source = converted(source, target.dtype(), target.device());
    }
  }
  for (auto& [target, source] : copies) target.copy_from(source);
}

void Module::train(bool training) {
  state_->training = training && !state_->frozen;
  for (const auto& entry : state_->children) entry.second->train(training);
}

bool Module::is_training() const { return state_->training; }

void Module::requires_grad_(bool requires_grad) {
  for (Tensor& parameter : parameters()) parameter.set_requires_grad(requires_grad);
}

void Module::freeze() {
  requires_grad_(false);
  mark_frozen(true);
  eval();
}

void Module::unfreeze() {
  requires_grad_(true);
  mark_frozen(false);
}

bool Module::is_frozen() const { return state_->frozen; }

void Module::mark_frozen(bool frozen) {
  state_->frozen = frozen;
  for (const auto& entry : state_->children) entry.second->mark_frozen(frozen);
}

void Module::to(const Device& device) {
  replace_arrays(without_repeats(state_->all()), [&](const Array& array) {
    return array.device() == device ? array : converted(array, array.dtype(), device);
  });
}

void Module::to(DType dtype) {
  if (!is_floating_point(dtype)) {
    throw DTypeError("Module::to: parameters cannot be " + std::string(name(dtype)) + ", only a floating dtype");
  }
  replace_arrays(without_repeats(state_->all()), [&](const Array& array) {
    const bool keep = array.dtype() == dtype || !is_floating_point(array.dtype());
    return keep ? array : converted(array, dtype, array.device());
  });
}

void Module::zero_grad() {
  for (Tensor& parameter : parameters()) parameter.zero_grad();
}

Tensor Module::register_parameter(const std::string& name, Tensor parameter) {
  state_->check_name(name);
  if (!parameter.defined()) return parameter;
  parameter.set_requires_grad(true);
  state_->parameters.emplace_back(name, parameter);
  return parameter;
}

Tensor Module::register_buffer(const std::string& name, Tensor buffer) {
  state_->check_name(name);
  if (buffer.defined()) state_->buffers.emplace_back(name, buffer);
  return buffer;
}

void Module::add_child(const std::string& name, std::shared_ptr<Module> child) {
  state_->check_name(name);
  if (child == nullptr) throw ValueError("Module: child \"" + name + "\" is null");
  if (child->state_->holds(state_.get())) throw ValueError("Module: child \"" + name + "\" holds this module");
  state_->children.emplace_back(name, std::move(child));
}

}  // namespace weft::nn
