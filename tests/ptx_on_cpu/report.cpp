#include "report.h"

#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>
#include <utility>

#include "executor.h"

namespace weft::ptx_on_cpu {

namespace {

constexpr int kFenceLaunches = 8;  // of an entry that are repeated

struct Record {
  std::uint64_t launches = 0, executed = 0, compared = 0, differing = 0, ulps = 0, nan = 0;
  double norm_ulps = 0;
  bool approximate = false, tensor_core = false;
  int fence_launches = 0;
  std::map<std::uint32_t, std::uint64_t> fences;  // the schedule that missed each
};

// What took part in the launches of one result.
struct Result {
  Traits traits;
  bool ran = false, product = false, compared = false, differs = false;
};

struct Report {
  std::map<const Function*, Record> records;
  double seconds = 0;
  std::uint64_t last = 0;
  Result result;
  std::uint64_t results = 0, identical_results = 0;
  ~Report() { write(); }
  void write() const;
};

Report& report() {
  static Report instance;
  return instance;
}

void Report::write() const {
  const char* const folder = std::getenv("WEFT_PTX_REPORT");
  if (folder == nullptr || records.empty()) return;
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  std::ofstream out(std::string(folder) + "/" + std::to_string(getpid()) + ".txt");
  out << "seconds " << seconds << "\nresults " << results << " " << identical_results << "\n";
  std::map<std::string, std::uint64_t> forms;
  for (const auto& [entry, record] : records) {
    out << "kernel " << entry->module->name() << " " << entry->name << " " << record.launches << " " << record.executed
        << " " << record.compared << " " << record.differing << " " << record.ulps << " " << record.norm_ulps << " "
        << record.nan << " " << record.approximate << " " << record.tensor_core << "\n";
    std::set<const Function*> functions{entry};
    for (const Instruction& in : entry->code) {
      if (in.callee != nullptr) functions.insert(in.callee);
    }
    for (const Function* const f : functions) {
      for (std::size_t i = 0; i < f->code.size(); ++i) {
        if (f->executed[i] > 0) forms[form_name(f->code[i].form)] += f->executed[i];
      }
    }
    for (std::uint32_t i = 0; record.fence_launches > 0 && i < entry->code.size(); ++i) {
      if (entry->code[i].control != Control::fence) continue;
      const auto found = record.fences.find(i);
      out << "fence " << entry->module->name() << " " << entry->name << " " << entry->lines[i] << " "
          << (found == record.fences.end() ? 0 : found->second) << "\n";
    }
  }
  for (const auto& [form, count] : forms) out << "form " << form << " " << count << "\n";
}

}  // namespace

std::vector<std::unique_ptr<Module>>& ModuleFolder::modules() {
  if (!modules_.empty()) return modules_;
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(folder_)) {
    if (entry.path().extension() == ".ptx") files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  for (const auto& file : files) {
    std::ifstream in(file, std::ios::binary);
    modules_.push_back(
        std::make_unique<Module>(file.stem().string(), std::string{std::istreambuf_iterator<char>(in), {}}));
    auto& names = names_[file.stem().string()];
    for (const Function& f : modules_.back()->functions()) {
      if (f.is_entry) names[without_anonymous_names(f.name)] = f.name;
    }
  }
  if (modules_.empty()) throw PtxError("WEFT_PTX: there is no .ptx file in " + folder_);
  return modules_;
}

const Function* ModuleFolder::find(const Symbol& kernel) {
  const std::string name = without_anonymous_names(kernel.name);
  for (const auto& module : modules()) {
    // A local function is of one file; any of the others has the same code.
    if (!kernel.file.empty() && kernel.file != module->name() + ".cu") continue;
    const auto& names = names_[module->name()];
    if (const auto found = names.find(name); found != names.end()) return module->find(found->second);
  }
  return nullptr;
}

void note_launch(const Function& entry, std::uint64_t executed, double seconds) {
  Record& record = report().records[&entry];
  ++record.launches;
  record.executed += executed;
  report().last = executed;
  report().seconds += seconds;
}

void note_traits(const Traits& traits) {
  report().result.traits |= traits;
  report().result.ran = true;
}

void note_product() { report().result.product = true; }

void note_difference(const Function& entry, const Difference& difference, const Traits& traits) {
  Record& record = report().records[&entry];
  ++record.compared;
  record.differing += difference.differing > 0;
  report().result.compared = true;
  report().result.differs |= difference.differing > 0;
  record.nan += difference.only_nan > 0;
  record.ulps = std::max(record.ulps, difference.ulps);
  record.norm_ulps = std::max(record.norm_ulps, difference.norm_ulps);
  record.approximate |= traits.approximate;
  record.tensor_core |= traits.tensor_core;
}

std::uint64_t last_executed() { return report().last; }

bool wants_fences(const Function& entry, std::uint64_t executed, std::uint64_t most) {
  Record& record = report().records[&entry];
  const auto fences = std::count_if(entry.code.begin(), entry.code.end(),
                                    [](const Instruction& in) { return in.control == Control::fence; });
  if (executed > most || record.fence_launches >= kFenceLaunches) return false;
  if (record.fence_launches > 0 && std::ssize(record.fences) == fences) return false;
  ++record.fence_launches;
  return true;
}

bool fence_missed(const Function& entry, std::uint32_t fence) {
  return report().records[&entry].fences.contains(fence);
}
void note_fence(const Function& entry, std::uint32_t fence, std::uint64_t schedule) {
  report().records[&entry].fences[fence] = schedule;
}

}  // namespace weft::ptx_on_cpu

void weft_ptx_begin_result() { weft::ptx_on_cpu::report().result = {}; }

int weft_ptx_end_result() {
  using namespace weft::ptx_on_cpu;
  if (!wanted()) return -1;
  Report& all = report();
  const Result result = std::exchange(all.result, {});
  if (result.compared) {
    ++all.results;
    all.identical_results += !result.differs;
  }
  return (result.traits.approximate ? 1 : 0) | (result.traits.tensor_core ? 2 : 0) | (result.product ? 4 : 0) |
         (result.ran ? 0 : 8);
}
