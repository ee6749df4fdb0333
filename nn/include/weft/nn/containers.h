#pragma once

#include <concepts>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "weft/error.h"
#include "weft/nn/layer.h"
#include "weft/quote.h"

namespace weft::nn {

/// Modules of one type in order, their names being "0", "1", ... A list computes nothing. Copies share the modules.
template <std::derived_from<Module> M = Layer>
class ModuleList final : public Module {
 public:
  ModuleList() = default;

  ModuleList& append(std::shared_ptr<M> module) {
    modules_->reserve(modules_->size() + 1);
    modules_->push_back(register_module(std::to_string(size()), std::move(module)));
    return *this;
  }
  template <std::derived_from<M> D>
  ModuleList& append(const D& module) {
    return append(std::static_pointer_cast<M>(std::make_shared<D>(module)));
  }

  std::int64_t size() const { return static_cast<std::int64_t>(modules_->size()); }
  /// Throws IndexError.
  M& operator[](std::int64_t index) const {
    if (index < 0 || index >= size()) {
      throw IndexError("ModuleList: index " + std::to_string(index) + " of " + std::to_string(size()) + " modules");
    }
    return *(*modules_)[static_cast<std::size_t>(index)];
  }
  auto begin() const { return modules_->cbegin(); }  ///< of pointers to the modules
  auto end() const { return modules_->cend(); }

 private:
  std::shared_ptr<std::vector<std::shared_ptr<M>>> modules_ = std::make_shared<std::vector<std::shared_ptr<M>>>();
};

/// Modules of one type by name, in the order in which they were inserted. Copies share the modules.
template <std::derived_from<Module> M = Layer>
class ModuleDict final : public Module {
 public:
  ModuleDict() = default;

  /// Throws ValueError where the name is in use, empty or has a dot.
  ModuleDict& insert(const std::string& name, std::shared_ptr<M> module) {
    modules_->reserve(modules_->size() + 1);
    std::pair<std::string, std::shared_ptr<M>> entry(name, module);
    register_module(name, std::move(module));
    modules_->push_back(std::move(entry));
    return *this;
  }
  template <std::derived_from<M> D>
  ModuleDict& insert(const std::string& name, const D& module) {
    return insert(name, std::static_pointer_cast<M>(std::make_shared<D>(module)));
  }

  std::int64_t size() const { return static_cast<std::int64_t>(modules_->size()); }
  bool contains(const std::string& name) const { return find(name) != nullptr; }
  /// Throws IndexError.
  M& operator[](const std::string& name) const {
    M* const module = find(name);
    if (module == nullptr) throw IndexError("ModuleDict: no module has the name " + quote(name));
    return *module;
  }
  auto begin() const { return modules_->cbegin(); }  ///< of pairs of a name and a pointer to its module
  auto end() const { return modules_->cend(); }

 private:
  M* find(const std::string& name) const {
    for (const auto& entry : *modules_) {
      if (entry.first == name) return entry.second.get();
    }
    return nullptr;
  }

  std::shared_ptr<std::vector<std::pair<std::string, std::shared_ptr<M>>>> modules_ =
      std::make_shared<std::vector<std::pair<std::string, std::shared_ptr<M>>>>();
};

}  // namespace weft::nn
