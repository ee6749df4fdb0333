#include "cuda/runtime/profile.h"

#include <cxxabi.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iomanip>
#include <list>
#include <locale>
#include <map>
#include <mutex>
#include <tuple>
#include <utility>

#include "weft/error.h"

namespace weft::cuda::profile {

struct Pair {
  std::shared_ptr<Row> row;
  bool first = false;   // the first launch of the row
  bool closed = false;  // its scope has ended
  bool lost = false;    // the event `end` failed
  runtime::Event start = nullptr, end = nullptr;
  runtime::Stream stream = nullptr;
};

namespace {

constexpr std::size_t kMostPairs = 1024;  // pairs that are kept before their times are read
constexpr std::ptrdiff_t kAhead = 4;      // launches by which the host stays ahead of the stream

/// Holds the pairs of one device. Its events and its memory live until the process ends.
struct DevicePairs {
  std::list<Pair> pairs;
  std::vector<runtime::Event> events;  // events that no pair uses
  float* word = nullptr;
};

struct State {
  std::mutex mutex;
  std::map<int, DevicePairs> devices;  // by CUDA's number of the device
  std::map<std::tuple<std::string, const void*, int>, std::shared_ptr<Row>> rows;
  std::map<std::string, int> instances;
  std::string file;
  bool registered = false;  // the exit handler is registered
  double empty_us = 0;
  std::int64_t untimed = 0, captured = 0;
};

std::string wanted_file() {
  const char* const file = std::getenv("WEFT_CUDA_PROFILE");
  return file == nullptr ? "" : file;
}

// Never destroyed: objects with static lifetime may launch kernels when they are destroyed.
State& state() {
  static State& instance = *[] {
    auto* const made = new State;
    made->file = wanted_file();
    return made;
  }();
  return instance;
}

runtime::Event take_event(DevicePairs& device) {
  if (device.events.empty()) return runtime::create_event();
  const runtime::Event event = device.events.back();
  device.events.pop_back();
  return event;
}

void give_back(DevicePairs& device, const Pair& pair) {
  for (const runtime::Event event : {pair.start, pair.end}) {
    if (event != nullptr) device.events.push_back(event);
  }
}

// Waits for the closed pairs and adds their times to their rows.
void collect(State& s, DevicePairs& device) {
  for (auto pair = device.pairs.begin(); pair != device.pairs.end();) {
    if (!pair->closed) {
      ++pair;
      continue;
    }
    try {
      if (pair->lost) throw DeviceError("cuda: the profile lost an event");
      runtime::synchronize(pair->end);
      const double us = 1e3 * static_cast<double>(runtime::elapsed(pair->start, pair->end));
      if (pair->first) {
        pair->row->first_us = us;
      } else {
        pair->row->us += us;
        ++pair->row->timed;
      }
    } catch (const Error&) {
      ++s.untimed;
    }
    give_back(device, *pair);
    pair = device.pairs.erase(pair);
  }
}

// Returns the median over nine pairs without work between their events.
double empty_pair_us(DevicePairs& device, runtime::Stream stream) {
  constexpr int kPairs = 9;
  std::vector<runtime::Event> events;
  std::vector<float> milliseconds;
  for (int i = 0; i < 2 * kPairs; ++i) events.push_back(take_event(device));
  delay(device.word, stream);
  for (const runtime::Event event : events) runtime::record(event, stream);
  runtime::synchronize(events.back());
  for (std::size_t i = 0; i < events.size(); i += 2) {
    milliseconds.push_back(runtime::elapsed(events[i], events[i + 1]));
  }
  std::sort(milliseconds.begin(), milliseconds.end());
  device.events.insert(device.events.end(), events.begin(), events.end());
  return 1e3 * static_cast<double>(milliseconds[kPairs / 2]);
}

void write_at_exit() {
  const std::string file = state().file;
  if (file.empty()) return;
  try {
    write(file, stop());
  } catch (const std::exception& error) {
    std::fprintf(stderr, "weft: the profile is lost: %s\n", error.what());
  }
}

DevicePairs& pairs_of(State& s, runtime::Stream stream) {
  // Exit handlers run in reverse order. The CUDA runtime registered its handler earlier, so this one runs first.
  if (!std::exchange(s.registered, true)) std::atexit(write_at_exit);
  DevicePairs& device = s.devices[runtime::current_device()];
  if (device.word != nullptr) return device;
  constexpr std::size_t kBytes = 256;
  device.word = static_cast<float*>(runtime::allocate(kBytes, stream));
  if (device.word == nullptr) throw OutOfMemoryError("cuda: no memory for the profile's 256 bytes");
  s.empty_us = empty_pair_us(device, stream);
  return device;
}

// Delays the stream where it has caught up with the host. A pair would otherwise include the time that the host takes
// between the first event and the launch.
void keep_busy(const DevicePairs& device, runtime::Stream stream) {
  const bool few = std::ssize(device.pairs) < kAhead;
  if (few || runtime::is_finished(std::prev(device.pairs.end(), kAhead)->end)) delay(device.word, stream);
}

std::shared_ptr<Row> row_of(State& s, const char* name, const void* kernel, int threads) {
  std::shared_ptr<Row>& row = s.rows[{name, kernel, threads}];
  if (row != nullptr) return row;
  row = std::make_shared<Row>();
  row->name = name;
  row->instance = ++s.instances[name];
  row->threads = threads;
  // This loads the kernel's code too, which the first launch would do otherwise.
  if (kernel != nullptr) row->facts = runtime::kernel_facts(kernel, threads);
  return row;
}

std::string demangled(const std::string& name) {
  int status = 0;
  const std::unique_ptr<char, void (*)(void*)> text(abi::__cxa_demangle(name.c_str(), nullptr, nullptr, &status),
                                                    std::free);
  return text == nullptr ? name : text.get();
}

// Names are identifiers and words: nothing in them has to be escaped.
void write_row(std::ostream& out, const Row& row, double all_us) {
  out << R"({"what": "kernel", "name": ")" << row.name << R"(", "instance": )" << row.instance << R"(, "count": )"
      << row.count << R"(, "timed": )" << row.timed << R"(, "us": )" << row.us << R"(, "share": )"
      << (all_us > 0 ? row.us / all_us : 0) << R"(, "mean_us": )"
      << (row.timed > 0 ? row.us / static_cast<double>(row.timed) : 0) << R"(, "first_us": )" << row.first_us;
  if (row.threads > 0) {
    out << R"(, "blocks": )" << row.blocks << R"(, "threads": )" << row.threads << R"(, "registers": )"
        << row.facts.registers << R"(, "shared_bytes": )" << row.facts.shared_bytes << R"(, "local_bytes": )"
        << row.facts.local_bytes << R"(, "occupancy": )" << row.facts.occupancy;
  }
  if (!row.facts.function.empty()) out << R"(, "function": ")" << demangled(row.facts.function) << '"';
  out << "}\n";
}

}  // namespace

std::atomic<bool> on{!wanted_file().empty()};

void start(const std::string& file) {
  stop();
  State& s = state();
  const std::lock_guard lock(s.mutex);
  s.file = file;
  s.rows.clear();
  s.instances.clear();
  s.untimed = s.captured = 0;
  on = true;
}

Profile stop() {
  on = false;
  State& s = state();
  const std::lock_guard lock(s.mutex);
  for (auto& [number, device] : s.devices) collect(s, device);
  Profile profile{.rows = {}, .empty_us = s.empty_us, .untimed = s.untimed, .captured = s.captured};
  for (const auto& [key, row] : s.rows) profile.rows.push_back(*row);
  std::stable_sort(profile.rows.begin(), profile.rows.end(), [](const Row& a, const Row& b) { return a.us > b.us; });
  return profile;
}

void write(const std::string& file, const Profile& profile) {
  double all_us = 0;
  std::int64_t launches = 0;
  for (const Row& row : profile.rows) {
    all_us += row.us;
    launches += row.count;
  }
  std::ofstream out(file);
  out.imbue(std::locale::classic());
  out << std::fixed << std::setprecision(3) << R"({"what": "profile", "launches": )" << launches << R"(, "us": )"
      << all_us << R"(, "empty_us": )" << profile.empty_us << R"(, "untimed": )" << profile.untimed
      << R"(, "captured": )" << profile.captured << "}\n";
  for (const Row& row : profile.rows) write_row(out, row, all_us);
  out.flush();
  if (!out) throw IoError("the profile cannot be written to " + file);
}

void Scope::begin(const char* name, runtime::Stream stream, const void* kernel, std::int64_t blocks,
                  int threads) noexcept {
  State& s = state();
  const std::lock_guard lock(s.mutex);
  try {
    if (runtime::is_capturing(stream)) {
      ++s.captured;
      return;
    }
    DevicePairs& device = pairs_of(s, stream);
    if (device.pairs.size() >= kMostPairs) collect(s, device);
    std::shared_ptr<Row> row = row_of(s, name, kernel, threads);
    const auto before = static_cast<double>(row->count++);
    row->blocks += (static_cast<double>(blocks) - row->blocks) / (before + 1);
    keep_busy(device, stream);
    Pair& pair = device.pairs.emplace_back(Pair{.row = row, .first = row->count == 1, .stream = stream});
    try {
      pair.start = take_event(device);
      pair.end = take_event(device);
      runtime::record(pair.start, stream);
    } catch (...) {
      give_back(device, pair);
      device.pairs.pop_back();
      throw;
    }
    pair_ = &pair;
  } catch (const std::exception&) {
    ++s.untimed;
  }
}

void Scope::end() noexcept {
  State& s = state();
  const std::lock_guard lock(s.mutex);
  try {
    runtime::record(pair_->end, pair_->stream);
  } catch (const std::exception&) {
    pair_->lost = true;  // the event may have the time of an earlier pair
  }
  pair_->closed = true;
}

}  // namespace weft::cuda::profile
