// Adds up what the processes of a run left in a folder (executor.h) and names what no launch executed.
//   ptx_report FOLDER_OF_PTX FOLDER_OF_REPORTS [FOLDER_OF_OTHER_PTX]
// and says which kernels have other instructions in another folder. Fails where kernels ran with fences left out and
// some fence was missed in no schedule.
#include <cxxabi.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <set>
#include <sstream>
#include <string>

#include "report.h"

namespace weft::ptx_on_cpu {
namespace {

struct Sum {
  unsigned long long launches = 0, executed = 0, compared = 0, differing = 0, ulps = 0, nan = 0;
  double norm_ulps = 0;
  bool approximate = false, tensor_core = false;
};
using Name = std::pair<std::string, std::string>;  // module and entry

struct Sums {
  std::map<Name, Sum> kernels;
  std::map<std::string, unsigned long long> forms;
  std::map<std::pair<Name, int>, unsigned long long> fences;  // by line; 0: never missed
  unsigned long long results = 0, identical_results = 0;      // results of rows of the table
  double seconds = 0;
};

std::string readable(const std::string& entry) {
  int status = 0;
  const std::unique_ptr<char, void (*)(void*)> text(abi::__cxa_demangle(entry.c_str(), nullptr, nullptr, &status),
                                                    std::free);
  return status == 0 ? text.get() : entry;
}

void read(const std::filesystem::path& file, Sums& sums) {
  std::ifstream in(file);
  for (std::string line; std::getline(in, line);) {
    std::istringstream words(line);
    std::string what, module, entry;
    words >> what;
    if (what == "seconds") {
      double seconds = 0;
      words >> seconds;
      sums.seconds += seconds;
    } else if (what == "results") {
      unsigned long long results = 0, identical = 0;
      words >> results >> identical;
      sums.results += results;
      sums.identical_results += identical;
    } else if (what == "kernel") {
      Sum one;
      words >> module >> entry >> one.launches >> one.executed >> one.compared >> one.differing >> one.ulps >>
          one.norm_ulps >> one.nan >> one.approximate >> one.tensor_core;
      Sum& all = sums.kernels[{module, entry}];
      all.launches += one.launches;
      all.executed += one.executed;
      all.compared += one.compared;
      all.differing += one.differing;
      all.ulps = std::max(all.ulps, one.ulps);
      all.norm_ulps = std::max(all.norm_ulps, one.norm_ulps);
      all.nan += one.nan;
      all.approximate |= one.approximate;
      all.tensor_core |= one.tensor_core;
    } else if (what == "form") {
      unsigned long long count = 0;
      words >> module >> count;
      sums.forms[module] += count;
    } else if (what == "fence") {
      int at = 0;
      unsigned long long schedule = 0;
      words >> module >> entry >> at >> schedule;
      unsigned long long& known = sums.fences[{{module, entry}, at}];
      if (known == 0) known = schedule;
    }
  }
}

// The instructions of every entry, by module and name.
std::map<Name, std::vector<std::string>> texts_of(const std::string& ptx) {
  std::map<Name, std::vector<std::string>> all;
  ModuleFolder folder(ptx);
  for (const auto& module : folder.modules()) {
    for (const Function& named : module->functions()) {
      if (!named.is_entry) continue;
      std::vector<std::string>& texts = all[{module->name(), without_anonymous_names(named.name)}];
      for (const std::string& text : module->find(named.name)->texts) texts.push_back(without_anonymous_names(text));
    }
  }
  return all;
}

// Says which kernels have other instructions for another architecture.
void compare_texts(const std::string& ptx, const std::string& other) {
  const auto ours = texts_of(ptx), theirs = texts_of(other);
  std::size_t same = 0;
  for (const auto& [name, texts] : theirs) {
    const auto found = ours.find(name);
    if (found != ours.end() && found->second == texts) {
      ++same;
    } else {
      std::printf("other instructions in %s: %s %s\n", other.c_str(), name.first.c_str(),
                  readable(name.second).c_str());
    }
  }
  std::printf("%zu of %zu kernels in %s have the same instructions\n", same, theirs.size(), other.c_str());
}

int report(const std::string& ptx, const std::string& reports) {
  ModuleFolder folder(ptx);
  std::set<std::string> all_forms;
  std::set<Name> all_entries, with_fences;
  for (const auto& module : folder.modules()) {
    for (const Function& named : module->functions()) {
      const Function& f = *module->find(named.name);  // an instruction that is not known ends the program
      if (f.is_entry) all_entries.insert({module->name(), without_anonymous_names(f.name)});
      for (std::size_t i = 0; i + 1 < f.code.size(); ++i) {
        all_forms.insert(form_name(f.code[i].form));
        if (f.code[i].control == Control::fence) with_fences.insert({module->name(), without_anonymous_names(f.name)});
      }
    }
  }
  Sums sums;
  for (const auto& file : std::filesystem::directory_iterator(reports)) read(file.path(), sums);
  Sum total;
  std::size_t compared = 0, identical = 0, exact = 0;
  std::set<Name> executed;
  std::printf(
      "kernels that differ from the C++ (launches that differ, of those compared; largest distance in ulps of a "
      "number, "
      "of the norm):\n");
  for (const auto& [name, sum] : sums.kernels) {
    executed.insert({name.first, without_anonymous_names(name.second)});
    total.launches += sum.launches;
    total.executed += sum.executed;
    total.compared += sum.compared;
    total.differing += sum.differing;
    compared += sum.compared > 0;
    identical += sum.compared > 0 && sum.differing == 0;
    exact += sum.compared > 0 && !sum.approximate;
    if (sum.differing > 0) {
      std::printf("  %llu of %llu, %llu, %.1f: %s %s\n", sum.differing, sum.compared, sum.ulps, sum.norm_ulps,
                  name.first.c_str(), readable(name.second).c_str());
    }
  }
  std::printf("kernels that nothing executed:\n");
  std::size_t missing = 0;
  for (const Name& name : all_entries) {
    if (executed.contains(name)) continue;
    ++missing;
    std::printf("  %s %s\n", name.first.c_str(), readable(name.second).c_str());
  }
  std::printf("forms that nothing executed:");
  std::size_t missing_forms = 0;
  for (const std::string& form : all_forms) {
    if (sums.forms.contains(form)) continue;
    ++missing_forms;
    std::printf(" %s", form.c_str());
  }
  std::printf("\n");
  std::set<Name> tried;
  std::size_t missed = 0;
  for (const auto& [fence, schedule] : sums.fences) {
    tried.insert({fence.first.first, without_anonymous_names(fence.first.second)});
    missed += schedule > 0;
    if (schedule == 0) {
      std::printf("no schedule missed the fence at line %d of %s %s\n", fence.second, fence.first.first.c_str(),
                  readable(fence.first.second).c_str());
    }
  }
  bool untried = false;
  for (const Name& name : with_fences) {
    if (!sums.fences.empty() && !tried.contains(name)) {
      untried = true;
      std::printf("no adversarial run of %s %s\n", name.first.c_str(), readable(name.second).c_str());
    }
  }
  std::printf("%zu of %zu kernels and %zu of %zu forms executed\n", all_entries.size() - missing, all_entries.size(),
              all_forms.size() - missing_forms, all_forms.size());
  std::printf("%llu launches, %llu thread instructions in %.1f s of a core: %.0f million a second\n", total.launches,
              total.executed, sums.seconds, static_cast<double>(total.executed) / 1e6 / std::max(sums.seconds, 1e-9));
  std::printf(
      "%llu launches of %zu kernels compared with the C++: %llu launches and %zu kernels bit-identical; "
      "%zu kernels without approximations\n",
      total.compared, compared, total.compared - total.differing, identical, exact);
  std::printf("%llu of %llu results of rows of the table by launches that are all bit-identical\n",
              sums.identical_results, sums.results);
  std::printf("%zu of %zu fences of %zu of %zu kernels missed when left out\n", missed, sums.fences.size(),
              tried.size(), with_fences.size());
  return untried || missed < sums.fences.size() ? 1 : 0;
}

}  // namespace
}  // namespace weft::ptx_on_cpu

int main(int argc, char** argv) {
  if (argc != 3 && argc != 4) {
    std::fprintf(stderr, "ptx_report FOLDER_OF_PTX FOLDER_OF_REPORTS [FOLDER_OF_OTHER_PTX]\n");
    return 2;
  }
  try {
    const int status = weft::ptx_on_cpu::report(argv[1], argv[2]);
    if (argc == 4) weft::ptx_on_cpu::compare_texts(argv[1], argv[3]);
    return status;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
