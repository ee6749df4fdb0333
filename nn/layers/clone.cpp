#include "weft/nn/clone.h"

#include <map>
#include <string>
#include <utility>

#include "weft/error.h"

namespace weft::nn {
namespace {

struct Pair {
  Tensor target;
  Array copy;
  bool requires_grad;
};

std::string named(const std::string& kind, const std::string& name) { return kind + " \"" + name + "\""; }

Pair pair_of(const std::string& what, const Tensor& source, const Tensor& target) {
  if (source.is_same(target)) throw ValueError("copy_state: " + what + " of the copy is the model's own tensor");
  if (source.shape() != target.shape()) {
    throw ShapeError("copy_state: " + what + " has shape " + to_string(source.shape()) + ", that of the copy " +
                     to_string(target.shape()));
  }
  Array copy = Array::empty_like(source.array().layout(), source.dtype(), source.device());
  copy.copy_from(source.array());
  return {target, std::move(copy), source.requires_grad()};
}

/// Appends a pair for each tensor. `kind` is theirs in errors.
void append_pairs(const std::string& kind, const NamedTensors& from, const NamedTensors& to, std::vector<Pair>& pairs) {
  const std::map<std::string, Tensor> sources(from.begin(), from.end()), targets(to.begin(), to.end());
  for (const auto& [name, source] : sources) {
    if (targets.count(name) == 0) throw ValueError("copy_state: the copy has no " + named(kind, name));
  }
  for (const auto& [name, target] : targets) {
    if (sources.count(name) == 0) throw ValueError("copy_state: the model has no " + named(kind, name));
  }
  for (const auto& [name, source] : from) pairs.push_back(pair_of(named(kind, name), source, targets.at(name)));
}

void check_children(const Module& from, const Module& to) {
  const Module::Children &a = from.named_children(), &b = to.named_children();
  if (a.size() != b.size()) {
    throw ValueError("copy_state: a module of the model has " + std::to_string(a.size()) + " children, its copy " +
                     std::to_string(b.size()));
  }
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (a[i].first != b[i].first) {
      throw ValueError("copy_state: the model's child \"" + a[i].first + "\" is \"" + b[i].first + "\" in the copy");
    }
    check_children(*a[i].second, *b[i].second);
  }
}

void copy_modes(const Module& from, Module& to) {
  if (from.is_frozen()) {
    to.freeze();
  } else {
    to.unfreeze();
  }
  to.train(from.is_training());
  for (std::size_t i = 0; i < from.named_children().size(); ++i) {
    copy_modes(*from.named_children()[i].second, *to.named_children()[i].second);
  }
}

}  // namespace

void copy_state(const Module& from, Module& to) {
  std::vector<Pair> pairs;
  check_children(from, to);
  append_pairs("parameter", from.named_parameters(), to.named_parameters(), pairs);
  append_pairs("buffer", from.named_buffers(), to.named_buffers(), pairs);
  copy_modes(from, to);
  for (Pair& it : pairs) {
    it.target.zero_grad();
    it.target.set_requires_grad(false);
    it.target.set_array(std::move(it.copy));
    it.target.set_requires_grad(it.requires_grad);
  }
}

}  // namespace weft::nn
