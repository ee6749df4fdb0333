#include "core/autograd/autograd.h"

#include <pthread.h>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <mutex>
#include <new>
#include <queue>
#include <span>
#include <unordered_map>
#include <unordered_set>

#include "core/autograd/rollback.h"
#include "core/device/backend.h"
#include "core/value/views.h"
#include "weft/error.h"
#include "weft/ops.h"

namespace weft {

namespace {

thread_local bool recording = true;
std::atomic<std::uint64_t> next_sequence{1};

std::string message(std::string_view op, const std::string& text) { return std::string(op) + ": " + text; }

std::string describe(const GradientForm& form) {
  return std::string(name(form.dtype)) + " " + to_string(form.shape) + " on " + to_string(form.device);
}

GradientForm form_of(const Array& array) { return {array.shape(), array.dtype(), array.device()}; }

void check_unchanged(const Node& node, const Node::Saved& value) {
  if (!value.what.array.defined() || value.what.array.version() == value.version) return;
  throw AutogradError(message(node.name, "a value saved for backward was modified in place (version " +
                                             std::to_string(value.what.array.version()) + ", saved at version " +
                                             std::to_string(value.version) + ")"));
}

AutogradError used_up(std::string_view op) {
  return AutogradError(
      message(op, "backward ran a second time through a graph that was already used; pass retain_graph to the first"));
}

bool is_recorded(std::span<const Tensor> inputs) {
  return recording &&
         std::any_of(inputs.begin(), inputs.end(), [](const Tensor& t) { return t.defined() && t.requires_grad(); });
}

/// `all_needed`: the gradients of all inputs are. Otherwise a saved input may be one that nothing reads.
void check_usable(const Node& node, bool all_needed) {
  if (node.released()) throw used_up(node.name);
  for (const Node::Saved& value : node.saved) {
    if (all_needed || value.what.source < 0) check_unchanged(node, value);
  }
}

}  // namespace

bool grad_enabled() { return recording; }
GradMode::GradMode(bool enabled) : previous_(recording) { recording = enabled; }
GradMode::~GradMode() { recording = previous_; }

Node::Node(std::string_view function_name, std::vector<Edge> edges, std::vector<Saved> values,
           BackwardFunction function)
    : name(function_name),
      sequence(next_sequence.fetch_add(1)),
      inputs(std::move(edges)),
      saved(std::move(values)),
      backward(std::move(function)) {}

Node::~Node() {
  thread_local std::shared_ptr<Node>* waiting = nullptr;  // those that only this list holds
  std::shared_ptr<Node> own;
  const bool outermost = waiting == nullptr;
  if (outermost) waiting = &own;
  for (Edge& edge : inputs) {
    std::shared_ptr<Node> input = std::move(edge.node);
    if (input.use_count() != 1) continue;
    input->next_ = std::move(*waiting);
    *waiting = std::move(input);
  }
  if (!outermost) return;
  while (own) {
    const std::shared_ptr<Node> next = std::move(own);
    own = std::move(next->next_);
  }
  waiting = nullptr;
}

void Node::release() {
  saved.clear();
  backward = nullptr;
  inputs.clear();
}

Edge edge_of(const Tensor& tensor) {
  const std::shared_ptr<TensorState>& state = state_of(tensor);
  if (!state || !state->requires_grad) return {};
  const GradientForm form = form_of(state->array);
  if (state->node) return {state->node, nullptr, form};
  return {nullptr, state->alias_of ? state->alias_of : state, form};
}

Tensor SavedValues::operator[](std::string_view name) const {
  const auto found = std::find_if(node_->saved.begin(), node_->saved.end(),
                                  [&](const Node::Saved& each) { return each.what.name == name; });
  if (found == node_->saved.end())
    throw AutogradError(message(node_->name, "no value \"" + std::string(name) + "\" was saved"));
  const Node::Saved& value = *found;
  check_unchanged(*node_, value);
  Tensor tensor(value.what.array);
  Edge edge;
  if (value.what.source == Save::kOutput) {
    edge.node = node_;
  } else if (value.what.source >= 0) {
    edge = node_->inputs[static_cast<std::size_t>(value.what.source)];
  }
  if (edge) {
    state_of(tensor)->requires_grad = true;
    state_of(tensor)->node = edge.node;
    state_of(tensor)->alias_of = edge.leaf;
  }
  return tensor;
}

bool SavedValues::needs(std::size_t input) const {
  if (input >= needs_.size()) {
    throw IndexError(message(node_->name, "needs(" + std::to_string(input) + ") of a function of " +
                                              std::to_string(needs_.size()) + " inputs"));
  }
  return needs_[input];
}

bool is_recorded(std::initializer_list<Tensor> inputs) { return is_recorded(std::span(inputs.begin(), inputs.size())); }

namespace {

/// Throws unless each value to save exists, under a name of its own.
void check_saves(std::string_view name, const std::vector<Tensor>& inputs, const std::vector<Save>& saves) {
  for (auto save = saves.begin(); save != saves.end(); ++save) {
    const bool exists = save->source == Save::kOutput || save->source == Save::kConstant ||
                        (save->source >= 0 && static_cast<std::size_t>(save->source) < inputs.size());
    if (!exists) {
      throw IndexError(message(name, "\"" + save->name + "\" is input " + std::to_string(save->source) +
                                         " of a function of " + std::to_string(inputs.size()) + " inputs"));
    }
    if (std::any_of(saves.begin(), save, [&](const Save& other) { return other.name == save->name; }))
      throw ValueError(message(name, "two values are saved under the name \"" + save->name + "\""));
  }
}

}  // namespace

Tensor record(std::string_view name, Array output, const std::vector<Tensor>& inputs, const std::vector<Save>& saves,
              BackwardFunction backward) {
  if (!output.defined()) throw Error(message(name, "the output is undefined"));
  Tensor result(std::move(output));
  if (!is_recorded(std::span(inputs)) || !is_floating_point(result.dtype())) return result;
  check_saves(name, inputs, saves);
  if (backward == nullptr) throw ValueError(message(name, "the backward function is empty"));
  std::vector<Edge> edges;
  edges.reserve(inputs.size());
  for (const Tensor& input : inputs) edges.push_back(edge_of(input));
  std::vector<Node::Saved> saved;
  saved.reserve(saves.size());
  for (const Save& save : saves) {
    const Array& array = save.source == Save::kOutput ? result.array()
                         : save.source >= 0           ? inputs[static_cast<std::size_t>(save.source)].array()
                                                      : save.array;
    saved.push_back({{save.name, save.source, array}, array.version()});
  }
  state_of(result)->requires_grad = true;
  state_of(result)->node = std::make_shared<Node>(name, std::move(edges), std::move(saved), std::move(backward));
  return result;
}

Tensor record(std::string_view name, Array output, std::initializer_list<Tensor> inputs,
              std::initializer_list<Save> saves, BackwardFunction backward) {
  if (output.defined() && !is_recorded(inputs)) return Tensor(std::move(output));
  return record(name, std::move(output), std::vector<Tensor>(inputs), std::vector<Save>(saves), std::move(backward));
}

Tensor record(std::string_view name, const std::vector<Array>& outputs, const std::vector<Tensor>& inputs,
              const std::vector<Save>& saves, BackwardFunction backward) {
  if (outputs.size() != 1) {
    throw AutogradError(message(name, "has " + std::to_string(outputs.size()) +
                                          " outputs, and a recorded function has one; record a function for each"));
  }
  return record(name, outputs.front(), inputs, saves, std::move(backward));
}

namespace {

// a += b where nobody else can see a; otherwise a new tensor.
Tensor sum_of(Tensor a, const Tensor& b) {
  const bool exclusive = state_of(a).use_count() == 1 && a.array().storage().use_count() == 1;
  if (recording || !exclusive || a.array().layout().is_dense() == false || a.dtype() != b.dtype() ||
      a.shape() != b.shape()) {
    return add(a, b);
  }
  backend(a.device())->binary(BinaryOp::add, const_view(a.array()), const_view(b.array()), mutable_view(a.array()));
  return a;
}

// The gradient in the leaf's own strides, not shared with anything; with its history while recording.
// By value: it is shared with nobody if this is its only handle.
Tensor owned_like(Tensor gradient, const Array& leaf) {  // NOLINT(performance-unnecessary-value-param)
  const Layout wanted = leaf.layout().is_dense() ? leaf.layout() : Layout::row_major(leaf.shape());
  const bool exclusive = state_of(gradient).use_count() == 1 && gradient.array().storage().use_count() == 1;
  if (exclusive && gradient.array().layout().is_dense() && gradient.array().strides() == wanted.strides)
    return recording ? gradient : gradient.detach();
  Array copy = Array::empty_like(wanted, gradient.dtype(), gradient.device());
  backend(copy.device())->copy(const_view(gradient.array()), mutable_view(copy));
  return record("backward", std::move(copy), {gradient}, {},
                [](const SavedValues&, const Tensor& g) { return std::vector<Tensor>{g}; });
}

// Backward may run in several threads that share leaves.
std::mutex& leaves_mutex() {
  static std::mutex mutex;
  [[maybe_unused]] static const int watched = pthread_atfork(nullptr, nullptr, [] {
    new (&mutex) std::mutex;  // held by a thread that a child process has not
  });
  return mutex;
}

// What a pass adds to the grad of each leaf that it reaches.
class LeafGradients {
 public:
  void add(const std::shared_ptr<TensorState>& leaf, Tensor gradient) {
    const Array& array = leaf->array;
    if (gradient.shape() != array.shape() || gradient.dtype() != array.dtype() || gradient.device() != array.device()) {
      throw AutogradError(message("backward", "a leaf was given another array, " + describe(form_of(array)) +
                                                  ", since its values were used; the gradient is " +
                                                  describe(form_of(gradient.array()))));
    }
    const auto [place, first] = places_.try_emplace(leaf.get(), entries_.size());
    if (first) {
      entries_.push_back({leaf, owned_like(std::move(gradient), array)});
    } else {
      Tensor& sum = entries_[place->second].gradient;
      sum = sum_of(std::move(sum), gradient);
    }
  }

  // All leaves or none: whatever can fail comes before the first change.
  void commit() {
    const std::lock_guard lock(leaves_mutex());
    for (Entry& entry : entries_) {
      note_gradient(entry.leaf);
      const Tensor& own = entry.leaf->grad;
      if (!own.defined()) continue;
      entry.in_place = !recording && !own.requires_grad() && own.array().layout().is_dense() &&
                       backend(own.device()).unlocked().computes(own.dtype());
      entry.gradient = entry.in_place ? owned_like(std::move(entry.gradient), own.array())
                                      : owned_like(weft::add(own, entry.gradient), entry.leaf->array);
    }
    for (Entry& entry : entries_) {
      Tensor& own = entry.leaf->grad;
      if (!entry.in_place) {
        own = std::move(entry.gradient);
        continue;
      }
      const Array& sum = own.array();
      backend(sum.device())
          ->binary(BinaryOp::add, const_view(sum), const_view(entry.gradient.array()), mutable_view(sum));
      sum.storage()->bump_version();
    }
  }

 private:
  struct Entry {
    std::shared_ptr<TensorState> leaf;
    Tensor gradient;
    bool in_place = false;
  };
  std::vector<Entry> entries_;  // in the order in which the pass reached them
  std::unordered_map<const TensorState*, std::size_t> places_;
};

// One backward pass. With `targets` it gives the gradients of those tensors; without, it adds to the grad of every
// leaf.
class Engine {
 public:
  Engine(const BackwardOptions& options, const std::vector<Edge>* targets) : options_(options) {
    if (targets == nullptr) return;
    selective_ = true;
    for (const Edge& target : *targets) wanted_.insert(target.target());
  }

  void seed(const Edge& edge, const Tensor& gradient) { flow(edge, gradient); }

  void visit_nodes() {
    find_nodes();
    const GradMode mode(options_.create_graph);
    while (!queue_.empty()) {
      const std::shared_ptr<Node> node = queue_.top().node;
      queue_.pop();
      Tensor gradient = take(node);
      if (wanted_.contains(node.get())) found_[node.get()] = gradient;
      if (selective_ && !useful_.contains(node.get())) continue;
      step(node, std::move(gradient));
    }
    leaves_.commit();
  }

  /// Throws where a graph that was used up may be why a target was not reached.
  void check_whole() const {
    if (!released_.empty()) throw used_up(released_);
  }
  /// Undefined when no gradient reached the target.
  Tensor gradient_of(const Edge& target) const {
    const auto it = found_.find(target.target());
    return it == found_.end() ? Tensor() : it->second;
  }

 private:
  struct Pending {
    std::shared_ptr<Node> node;
    bool operator<(const Pending& other) const { return node->sequence < other.node->sequence; }
  };

  Tensor take(const std::shared_ptr<Node>& node) {
    const auto it = gradients_.find(node.get());
    Tensor gradient = std::move(it->second);
    gradients_.erase(it);
    return gradient;
  }

  void step(const std::shared_ptr<Node>& node, Tensor gradient) {
    std::vector<bool> needs;
    needs.reserve(node->inputs.size());
    for (const Edge& edge : node->inputs) needs.push_back(edge && is_useful(edge));
    std::vector<Tensor> results = node->backward(SavedValues(node, needs), gradient);
    gradient = Tensor();
    const std::vector<Edge> edges = node->inputs;
    check_results(*node, needs, results);
    if (!options_.retain_graph && !options_.create_graph) node->release();
    for (std::size_t i = 0; i < edges.size(); ++i) {
      if (needs[i] && results[i].defined()) flow(edges[i], std::move(results[i]));
    }
  }

  static void check_results(const Node& node, const std::vector<bool>& needs, const std::vector<Tensor>& results) {
    if (results.size() != node.inputs.size()) {
      throw AutogradError(message(node.name, "the backward returned " + std::to_string(results.size()) +
                                                 " gradients of " + std::to_string(node.inputs.size()) + " inputs"));
    }
    for (std::size_t i = 0; i < results.size(); ++i) {
      if (!needs[i] || !results[i].defined()) continue;
      const GradientForm& form = node.inputs[i].form;
      const Array& result = results[i].array();
      if (result.shape() == form.shape && result.dtype() == form.dtype && result.device() == form.device) continue;
      throw AutogradError(message(node.name, "the gradient of input " + std::to_string(i) + " is " +
                                                 describe(form_of(result)) + ", and the input is " + describe(form)));
    }
  }

  bool is_useful(const Edge& edge) const {
    return !selective_ || wanted_.contains(edge.target()) || useful_.contains(edge.target());
  }

  void flow(const Edge& edge, Tensor gradient) {
    if (edge.leaf) {
      if (!selective_) {
        leaves_.add(edge.leaf, std::move(gradient));
      } else if (wanted_.contains(edge.leaf.get())) {
        Tensor& sum = found_[edge.leaf.get()];
        sum = sum.defined() ? sum_of(std::move(sum), gradient) : std::move(gradient);
      }
      return;
    }
    const auto [it, first] = gradients_.try_emplace(edge.node.get(), std::move(gradient));
    if (first) {
      queue_.push({edge.node});
    } else {
      it->second = sum_of(std::move(it->second), gradient);
    }
  }

  // The nodes that run, checked before any does. With targets, those from which one can be reached: in ascending
  // sequence every node comes after its inputs.
  void find_nodes() {
    std::vector<Node*> nodes;
    std::unordered_set<Node*> seen;
    auto copy = queue_;
    for (; !copy.empty(); copy.pop()) {
      if (seen.insert(copy.top().node.get()).second) nodes.push_back(copy.top().node.get());
    }
    for (std::size_t i = 0; i < nodes.size(); ++i) {
      for (const Edge& edge : nodes[i]->inputs) {
        if (edge.node && seen.insert(edge.node.get()).second) nodes.push_back(edge.node.get());
      }
    }
    const auto check = [&](const Node& node) {
      check_usable(node, std::all_of(node.inputs.begin(), node.inputs.end(),
                                     [&](const Edge& edge) { return edge && is_useful(edge); }));
    };
    if (!selective_) {
      for (const Node* node : nodes) check(*node);
      return;
    }
    std::sort(nodes.begin(), nodes.end(), [](const Node* a, const Node* b) { return a->sequence < b->sequence; });
    for (const Node* node : nodes) {
      if (std::any_of(node->inputs.begin(), node->inputs.end(),
                      [&](const Edge& edge) { return edge && is_useful(edge); }))
        useful_.insert(node);
      if (useful_.contains(node)) check(*node);
      if (node->released()) released_ = node->name;  // what is behind it is no longer known
    }
  }

  BackwardOptions options_;
  bool selective_ = false;
  std::string released_;  // the name of such a node
  std::unordered_set<const void*> wanted_;
  std::unordered_set<const void*> useful_;
  std::unordered_map<const void*, Tensor> found_;
  LeafGradients leaves_;
  std::unordered_map<Node*, Tensor> gradients_;
  std::priority_queue<Pending> queue_;
};

Tensor seed_gradient(std::string_view op, const Tensor& output, const Tensor& gradient) {
  if (!output.defined() || !output.requires_grad()) {
    throw AutogradError(
        message(op, "the output does not require a gradient: no input of its computation did, or recording was off"));
  }
  if (!gradient.defined()) {
    if (output.size() != 1) {
      throw AutogradError(message(op, "an output of shape " + to_string(output.shape()) +
                                          " needs an output gradient; only one element does without"));
    }
    return ones_like(output);
  }
  if (gradient.shape() != output.shape()) {
    throw ShapeError(message(op, "output gradient " + to_string(gradient.shape()) +
                                     " does not have the output's shape " + to_string(output.shape())));
  }
  return gradient.to(output.dtype()).to(output.device());
}

}  // namespace

void Tensor::backward(const BackwardOptions& options) const { backward(Tensor(), options); }

void Tensor::backward(const Tensor& gradient, const BackwardOptions& options) const {
  const Tensor start = seed_gradient("backward", *this, gradient);
  const GradMode mode(options.create_graph);
  Engine engine(options, nullptr);
  engine.seed(edge_of(*this), start);
  engine.visit_nodes();
}

std::vector<Tensor> grad(const std::vector<Tensor>& outputs, const std::vector<Tensor>& inputs,
                         const std::vector<Tensor>& output_gradients, const BackwardOptions& options,
                         bool allow_unused) {
  if (!output_gradients.empty() && output_gradients.size() != outputs.size()) {
    throw ValueError("grad: " + std::to_string(outputs.size()) + " outputs but " +
                     std::to_string(output_gradients.size()) + " output gradients");
  }
  std::vector<Edge> targets;
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    targets.push_back(edge_of(inputs[i]));
    if (!targets.back()) throw AutogradError("grad: input " + std::to_string(i) + " does not require a gradient");
  }
  std::vector<Tensor> starts;
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    starts.push_back(seed_gradient("grad", outputs[i], output_gradients.empty() ? Tensor() : output_gradients[i]));
  }
  const GradMode mode(options.create_graph);
  Engine engine(options, &targets);
  for (std::size_t i = 0; i < outputs.size(); ++i) engine.seed(edge_of(outputs[i]), starts[i]);
  engine.visit_nodes();
  std::vector<Tensor> gradients;
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    gradients.push_back(engine.gradient_of(targets[i]));
    if (!gradients.back().defined() && !allow_unused) {
      engine.check_whole();
      throw AutogradError("grad: input " + std::to_string(i) +
                          " takes no part in the outputs; pass allow_unused if that is meant");
    }
  }
  return gradients;
}

}  // namespace weft
