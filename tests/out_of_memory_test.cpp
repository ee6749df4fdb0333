#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <functional>
#include <optional>

#include "cpu/runtime/threads.h"
#include "tests/failing_allocation.h"

// As SQLite tests itself: every allocation of a piece of work fails, once or lastingly. Each comes out as an exception,
// the call that threw has changed nothing, and what follows has the bits of objects made from the state that is left.
namespace weft::nn {
namespace {

using failing::Exempt;
using failing::Failing;
using failing::kStride;

enum class Outcome { finished, failed };

/// Runs `call` and says whether memory ran out in it. Anything else that it throws leaves the test.
template <class Call>
Outcome outcome_of(const Call& call) {
  try {
    call();
    return Outcome::finished;
  } catch (const OutOfMemoryError&) {
  } catch (const std::bad_alloc&) {
  }
  return Outcome::failed;
}

/// attempt(point, lastingly) for every point of the work and both ways, each in a thread of its own, whose scratch
/// memory is new. It gives the number of allocations that it saw; the last attempt is one in which none fails.
void for_each_point(const char* what, const std::function<std::int64_t(std::int64_t, bool)>& attempt) {
  for (const bool lastingly : {false, true}) {
    std::int64_t point = 1, seen = 0;
    do {
      std::thread([&] {
        try {
          seen = attempt(point, lastingly);
        } catch (const std::exception& error) {
          ADD_FAILURE() << error.what();
        }
      }).join();
      if (testing::Test::HasFailure()) {
        FAIL() << what << ": at point " << point << (lastingly ? ", lastingly" : ", once");
      }
      point += kStride;
    } while (seen >= point - kStride);
    std::cout << what << (lastingly ? ", lastingly: " : ", once: ") << seen << " points\n";
    testing::Test::RecordProperty(lastingly ? "points_lastingly" : "points_once", std::to_string(seen));
  }
}

std::string bytes_of(const Array& array) {
  const Array dense = array.contiguous();
  const auto* data = static_cast<const char*>(dense.data());
  return to_string(array.shape()) + std::string(name(array.dtype())) +
         std::string(data, static_cast<std::size_t>(dense.size()) * size_of(dense.dtype()));
}

using Bits = std::map<std::string, std::string>;

Bits bits_of(const StateDict& state, const std::string& prefix = "") {
  Bits bits;
  for (const auto& [name, array] : state) bits.emplace(prefix + name, bytes_of(array));
  return bits;
}

/// All that a call may not change when it throws.
Bits bits_of(const Module& model, const Optimizer& optimizer) {
  const Exempt exempt;
  Bits bits = bits_of(model.state_dict(), "model.");
  bits.merge(bits_of(optimizer.state_dict(), "optimizer."));
  for (const auto& [name, parameter] : model.named_parameters()) {
    if (const Tensor gradient = parameter.grad(); gradient.defined())
      bits.emplace("grad." + name, bytes_of(gradient.array()));
  }
  const Generator& generator = default_generator();
  bits.emplace("generator", std::to_string(generator.seed()) + "/" + std::to_string(generator.stream()) + "/" +
                                std::to_string(generator.offset()));
  return bits;
}

std::string difference(const Bits& a, const Bits& b) {
  std::string names;
  for (const auto& [name, value] : a) {
    if (b.count(name) == 0 || b.at(name) != value) names += name + " ";
  }
  for (const auto& entry : b) {
    if (a.count(entry.first) == 0) names += entry.first + " ";
  }
  return names;
}

Sequential small_model() {
  return Sequential(Conv2d(2, 4, 3, {.padding = 1}), BatchNorm2d(4), ReLU(), Dropout(0.25),
                    Residual(Conv2d(4, 4, 3, {.padding = 1}, {.bias = false}), BatchNorm2d(4), ReLU()), MaxPool2d(2),
                    Flatten(), Linear(16, 3));
}

enum class Kind { sgd, adam };

std::unique_ptr<Optimizer> make_optimizer(Kind kind, const Module& model) {
  if (kind == Kind::sgd) {
    return std::make_unique<SGD>(model.parameters(), SGDOptions{.lr = 0.1, .momentum = 0.9, .nesterov = true});
  }
  return std::make_unique<Adam>(model.parameters(), AdamOptions{.lr = 0.01});
}

/// A model in training with what it is trained on.
struct Training {
  explicit Training(Kind kind) : model(small_model()), optimizer(make_optimizer(kind, model)) {
    Generator generator(3);
    images = randn({3, 2, 4, 4}, {}, 0, 1, generator);
    labels = randint(0, 3, {3}, {.dtype = DType::i64}, generator);
  }

  /// One training step; around(call) runs each of its calls.
  template <class Around>
  void step(const Around& around) {
    Tensor logits, loss;
    around([&] { optimizer->zero_grad(); });
    around([&] { logits = model(images); });
    around([&] { loss = cross_entropy(logits, labels); });
    around([&] { loss.backward(); });
    around([&] { optimizer->step(); });
    around([&] { optimizer->set_lr(optimizer->lr() * 0.5); });
  }
  void step() {
    step([](const auto& call) { call(); });
  }
  Bits bits() const { return bits_of(model, *optimizer); }

  Sequential model;
  std::unique_ptr<Optimizer> optimizer;
  Tensor images, labels;
};

/// The same state in new objects.
Training resumed(Kind kind, const Training& from) {
  const Generator generator = default_generator();
  Training copy(kind);
  copy.model.load_state_dict(from.model.state_dict());
  copy.optimizer->load_state_dict(from.optimizer->state_dict());
  default_generator() = generator;
  return copy;
}

/// Two steps from the start, the first of which makes the optimizer's state.
std::int64_t train_with_failure(Kind kind, std::int64_t point, bool lastingly) {
  manual_seed(5);
  Training training(kind);
  Bits before;
  std::int64_t seen = 0;
  const Outcome outcome = outcome_of([&] {
    const Failing fails(point, lastingly);
    const auto around = [&](const auto& call) {
      before = training.bits();
      call();
    };
    training.step(around);
    training.step(around);
  });
  seen = failing::allocations;
  if (outcome == Outcome::failed) {
    EXPECT_EQ(difference(before, training.bits()), "") << "changed by the call that threw";
  }
  Training other = resumed(kind, training);
  const Generator generator = default_generator();
  training.step();
  default_generator() = generator;
  other.step();
  EXPECT_EQ(difference(training.bits(), other.bits()), "") << "differs from a run that began with what was left";
  return seen;
}

TEST(OutOfMemory, StepsOfSgd) {
  for_each_point("two steps of SGD", [](auto... point) { return train_with_failure(Kind::sgd, point...); });
}

TEST(OutOfMemory, StepsOfAdam) {
  for_each_point("two steps of Adam", [](auto... point) { return train_with_failure(Kind::adam, point...); });
}

// Workers' own allocations, scratch above all, fail as well as the caller's.
TEST(OutOfMemory, StepsOfSeveralThreads) {
  const int before = cpu::thread_count();
  const auto attempt = [](std::int64_t point, bool lastingly) {
    cpu::set_thread_count(1);  // ends the workers, whose scratch memory is theirs
    cpu::set_thread_count(3);
    Generator generator(1);
    const Tensor x = randn({4, 8, 24, 24}, {.requires_grad = true}, 0, 1, generator);
    const Tensor w = randn({8, 8, 3, 3}, {.requires_grad = true}, 0, 1, generator);
    const auto run = [&] { sum(square(conv2d(x, w, {}, {.padding = 1}))).backward(); };
    {
      const Failing fails(point, lastingly);
      outcome_of(run);
    }
    const std::int64_t seen = failing::allocations;
    Tensor(x).zero_grad();
    Tensor(w).zero_grad();
    run();
    static const std::string right = bytes_of(w.grad().array());
    EXPECT_EQ(bytes_of(w.grad().array()), right);
    return seen;
  };
  for_each_point("a convolution on three threads", attempt);
  cpu::set_thread_count(before);
}

TEST(OutOfMemory, TasksOfWorkersThrowInTheCaller) {
  const int before = cpu::thread_count();
  cpu::set_thread_count(3);
  for (int round = 0; round < 20; ++round) {
    const Failing fails(1, true);
    EXPECT_THROW(cpu::parallel_for(64, [](std::int64_t) { std::vector<int>(100).at(0) = 1; }), std::bad_alloc);
  }
  std::atomic<int> done = 0;
  cpu::parallel_for(64, [&](std::int64_t) { ++done; });
  EXPECT_EQ(done, 64);
  cpu::set_thread_count(before);
}

ImageDataset small_images() {
  ImageDataset data;
  data.name = "small";
  data.channels = 2;
  data.height = data.width = 4;
  Generator generator(7);
  for (int i = 0; i < 7; ++i) data.labels.push_back(static_cast<std::uint8_t>(i % 3));
  for (int i = 0; i < 7 * 32; ++i) data.images.push_back(static_cast<std::uint8_t>(generator.below(256)));
  return data;
}

TEST(OutOfMemory, EpochOfTrainer) {
  const ImageDataset data = small_images();
  TrainerOptions options;
  options.recipe = Recipe::make(Recipe::Kind::dawnbench);
  options.recipe.batch_size = 3;
  options.recipe.drop_last = false;
  options.recipe.augmentation = {.crop_padding = 1, .flip = true};
  const auto attempt = [&](std::int64_t point, bool lastingly) {
    manual_seed(5);
    Sequential model = small_model();
    Trainer trainer(model, data, options);
    {
      const Failing fails(point, lastingly);
      outcome_of([&] { trainer.run_epoch(); });
    }
    const std::int64_t seen = failing::allocations;
    const Generator generator = default_generator();
    Sequential copy = small_model();
    copy.load_state_dict(model.state_dict());
    Trainer other(copy, data, options);
    other.optimizer().load_state_dict(trainer.optimizer().state_dict());
    other.set_epoch(trainer.epoch());
    default_generator() = generator;
    const Metrics metrics = trainer.run_epoch();
    const Bits bits = bits_of(model, trainer.optimizer());
    default_generator() = generator;
    EXPECT_EQ(other.run_epoch().loss, metrics.loss);
    EXPECT_EQ(difference(bits, bits_of(copy, other.optimizer())), "");
    return seen;
  };
  for_each_point("an epoch of Trainer", attempt);
}

TEST(OutOfMemory, LoaderKeepsItsEpoch) {
  const ImageDataset data = small_images();
  for_each_point("the first batch of a loader", [&](std::int64_t point, bool lastingly) {
    DataLoader loader(data, {.batch_size = 3, .shuffle = true});
    Outcome outcome = Outcome::finished;
    {
      const Failing fails(point, lastingly);
      outcome = outcome_of([&] { loader.begin(); });
    }
    EXPECT_EQ(loader.epoch(), outcome == Outcome::failed ? 0 : 1);
    return failing::allocations.load();
  });
}

// Gradients of gradients, added to what the leaves had: dense, of other strides, or with a graph of its own.
TEST(OutOfMemory, DoubleBackward) {
  const auto attempt = [](std::int64_t point, bool lastingly) {
    Generator generator(11);
    const auto leaf = [&](const Shape& shape) {
      return randn(shape, {.dtype = DType::f64, .requires_grad = true}, 0, 1, generator);
    };
    const Tensor x = leaf({2, 3, 5, 5}), w = leaf({4, 3, 3, 3}), gain = leaf({4}), offset = leaf({4});
    const std::vector<Tensor> leaves = {x, w, gain, offset};
    std::vector<Tensor> own = {Tensor(),
                               randn({3, 3, 4, 3}, {.dtype = DType::f64}, 0, 1, generator).permute({2, 0, 1, 3}),
                               ones({4}, {.dtype = DType::f64}), Tensor()};
    for (std::size_t i = 0; i < leaves.size(); ++i)
      Tensor(leaves[i]).set_grad(own[i].defined() ? own[i].clone() : own[i]);
    const auto grads = [&] {
      const Exempt exempt;
      Bits bits;
      for (std::size_t i = 0; i < leaves.size(); ++i) {
        const Tensor g = leaves[i].grad();
        bits.emplace(std::to_string(i), g.defined() ? bytes_of(g.array()) : "none");
      }
      return bits;
    };
    Bits before = grads();
    const auto run = [&](bool create_graph) {
      const Tensor y = tanh(batch_norm(conv2d(x, w), gain, offset, {}, {}));
      sum(square(y)).backward({.retain_graph = true, .create_graph = create_graph});
      before = grads();
      Tensor penalty = sum(square(w.grad()));
      for (const Tensor& g : grad({sum(y * y * y)}, {x, gain, w}, {}, {.create_graph = true}))
        penalty = penalty + sum(square(g));
      penalty.backward();
    };
    Outcome outcome = Outcome::finished;
    {
      const Failing fails(point, lastingly);
      outcome = outcome_of([&] { run(true); });
    }
    const std::int64_t seen = failing::allocations;
    if (outcome == Outcome::failed) {
      EXPECT_EQ(difference(before, grads()), "");
    }
    for (std::size_t i = 0; i < leaves.size(); ++i) Tensor(leaves[i]).set_grad(own[i]);
    run(false);
    static const Bits right = grads();
    EXPECT_EQ(difference(right, grads()), "");
    return seen;
  };
  for_each_point("double backward", attempt);
}

TEST(OutOfMemory, SaveAndLoad) {
  const std::filesystem::path folder =
      std::filesystem::temp_directory_path() / ("weft_out_of_memory_" + std::to_string(::getpid()));
  std::filesystem::create_directories(folder);
  const std::filesystem::path path = folder / "model.safetensors";
  clear_conv_choices();
  add_conv_choices({{"some work", "im2col"}, {"other work", "direct"}});
  const auto attempt = [&](std::int64_t point, bool lastingly) {
    manual_seed(5);
    Training old(Kind::adam), training(Kind::adam);
    training.step();
    const Bits saved = bits_of(training.model.state_dict()), was = bits_of(old.model.state_dict());
    nn::save(path, old.model.state_dict());
    const Bits before = old.bits();
    Outcome outcome = Outcome::finished;
    {
      const Failing fails(point, lastingly);
      outcome = outcome_of([&] {
        nn::save(path, training.model.state_dict(), {{"key", "value"}});
        const StateDict loaded = nn::load(path);
        old.model.load_state_dict(loaded);
      });
      if (outcome == Outcome::finished) {
        outcome = outcome_of([&] { old.optimizer->load_state_dict(training.optimizer->state_dict()); });
        if (outcome == Outcome::failed) {
          const Exempt exempt;
          EXPECT_EQ(bits_of(old.optimizer->state_dict()), bits_of(make_optimizer(Kind::adam, old.model)->state_dict()));
        }
      } else {
        const Exempt exempt;
        EXPECT_EQ(difference(old.bits(), before), "");
      }
    }
    const std::int64_t seen = failing::allocations;
    EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder), {}), 1) << "a temporary file is left";
    const Bits file = bits_of(nn::load(path));
    EXPECT_TRUE(file == saved || file == was) << "the file is neither the old nor the new one";
    return seen;
  };
  for_each_point("save and load", attempt);
  clear_conv_choices();
  std::filesystem::remove_all(folder);
}

// What draws random numbers leaves the generator as it was where it throws.
TEST(OutOfMemory, RandomNumbers) {
  const Tensor x = ones({3, 5});
  Sequential model(Dropout(0.5), Linear(5, 2), Dropout(0.5));
  const std::function<void()> calls[] = {
      [] {
        rand({3, 5});
      },
      [] {
        randn({3, 5}, {.requires_grad = true});
      },
      [] {
        randint(0, 9, {3, 5});
      },
      [&] { dropout(x, 0.5, true); },
      [] { Linear(3, 4); },
      [] { Conv2d(2, 3, 3); },
      [] { ConvTranspose2d(2, 3, 3); },
      [] { init::kaiming_normal(3, 4); },
      [&] { model(x); },
      [&] { model.forward(x); },
  };
  for (const auto& call : calls) {
    for_each_point("random numbers", [&](std::int64_t point, bool lastingly) {
      manual_seed(5);
      Outcome outcome;
      {
        const Failing fails(point, lastingly);
        outcome = outcome_of(call);
      }
      if (outcome == Outcome::failed) {
        EXPECT_EQ(default_generator().offset(), 0u);
      }
      return failing::allocations.load();
    });
  }
}

TEST(OutOfMemory, ClippingAndAverages) {
  for_each_point("clipping and averages", [](std::int64_t point, bool lastingly) {
    const Sequential model = small_model();
    const SGD optimizer(model.parameters());
    EMA ema(model);
    for (Tensor parameter : model.parameters()) {
      parameter.set_grad(Tensor(Array::full(parameter.shape(), 2.0)));
      Array value = parameter.array();
      value.fill(0.5);
    }
    const auto bits = [&] {
      const Exempt exempt;
      Bits all = bits_of(model, optimizer);
      all.merge(bits_of(ema.state_dict(), "ema."));
      return all;
    };
    const std::function<void()> calls[] = {
        [&] { clip_grad_norm(model.parameters(), 1); },
        [&] { clip_grad_value(model.parameters(), 0.01); },
        [&] { ema.update(); },
        [&] { const EMA::Evaluation evaluation(ema); },
    };
    const Failing fails(point, lastingly);
    for (const auto& call : calls) {
      const Bits before = bits();
      const bool finished = outcome_of(call) == Outcome::finished;
      const Exempt exempt;
      const bool puts_back = &call == &calls[3];
      EXPECT_EQ(difference(before, bits()).empty(), !finished || puts_back) << difference(before, bits());
    }
    return failing::allocations.load();
  });
}

// Not memory alone: a later layer that refuses its input leaves the running statistics of those before it.
TEST(OutOfMemory, StatisticsStayWhereALaterLayerThrows) {
  Sequential model(BatchNorm2d(2), Dropout(0.5), Flatten(), Linear(7, 2));
  const Bits before = bits_of(model.state_dict());
  manual_seed(5);
  EXPECT_THROW(model(ones({3, 2, 2, 2})), ShapeError);
  EXPECT_EQ(difference(before, bits_of(model.state_dict())), "");
  EXPECT_THROW(model.forward(ones({3, 2, 2, 2})), ShapeError);
  EXPECT_EQ(difference(before, bits_of(model.state_dict())), "");
  EXPECT_EQ(default_generator().offset(), 0u);
}

// Graphs end where nothing can be allocated: a chain, a comb whose nodes are shared, and the same operand twice.
TEST(OutOfMemory, GraphsEndWithoutMemory) {
  const Tensor x = ones({1}, {.requires_grad = true});
  for (const int kind : {0, 1, 2}) {
    Tensor y = x * 1, shared = x * 2;
    for (int i = 0; i < 20000; ++i) y = kind == 0 ? y + 1 : kind == 1 ? y + shared : y + y;
    const Failing fails(1, true);
    y = Tensor();
    shared = Tensor();
    EXPECT_EQ(failing::allocations, 0);
  }
}

}  // namespace
}  // namespace weft::nn
