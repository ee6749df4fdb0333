#include "decoder.h"

#include <algorithm>

#include "ops.h"
#include "statement.h"

namespace weft::ptx_on_cpu {

void Decoder::fail(const std::string& what) const {
  throw PtxError(module_.name() + ", line " + std::to_string(line_) + ", in " + f_.name + ": " + what + ": " +
                 statement_);
}

void Decoder::decode() {
  scopes_.emplace_back();
  line_ = f_.line;
  formals();
  statements();
  line_ = f_.line;
  resolve_branches();
  // Whoever falls off the end returns.
  Instruction end;
  end.control = Control::exit;
  end.form = form_of("ret");
  f_.code.push_back(end);
  f_.lines.push_back(line_);
  f_.texts.emplace_back("the end of the body");
  f_.executed.assign(f_.code.size(), 0);
  f_.decoded = true;
}

// .param .align 8 .b8 name[16] or .param .u64 name, of the entry in the parameter space, of a function in local memory.
void Decoder::formals() {
  const auto parse = [&](std::string_view text) -> Parameter {
    const std::vector<std::string> words = split_words(text);
    std::size_t align = 0, width = 0, count = 1;
    std::string name;
    for (std::size_t i = 0; i < words.size(); ++i) {
      if (words[i] == ".align") {
        align = number_bits(words.at(++i));
      } else if (words[i][0] == '.') {
        width = std::max(width, static_cast<std::size_t>(type_bytes(words[i].substr(1))));
      } else if (const std::size_t bracket = words[i].find('['); bracket != std::string::npos) {
        name = words[i].substr(0, bracket);
        count = number_bits(std::string_view(words[i]).substr(bracket + 1, words[i].find(']') - bracket - 1));
      } else {
        name = words[i];
      }
    }
    if (name.empty() || width == 0) fail("not a parameter: " + std::string(text));
    if (align == 0) align = width;
    const std::size_t bytes = width * count;
    if (!f_.is_entry) return {name, new_local(bytes, align), bytes};
    const std::size_t offset = (f_.parameter_bytes + align - 1) / align * align;
    f_.parameter_bytes = offset + bytes;
    return {name, offset, bytes};
  };
  for (const std::string& one : split_operands(f_.parameters)) f_.formals.push_back(parse(one));
  if (f_.returns.empty()) return;
  const Parameter result = parse(f_.returns);
  f_.result = static_cast<std::uint32_t>(result.offset);
  f_.result_bytes = result.bytes;
  locals_[result.name] = f_.result;
  for (const Parameter& formal : f_.formals) locals_[formal.name] = static_cast<std::uint32_t>(formal.offset);
}

void Decoder::statements() {
  StatementReader reader(f_.body, f_.line);
  for (Statement s; reader.next(s);) statement(s.text, s.line);
}

void Decoder::statement(std::string_view text, int line) {
  line_ = line;
  statement_ = text;
  if (text == "{") {
    scopes_.emplace_back();
  } else if (text == "}") {
    if (scopes_.size() == 1) fail("a brace that closes nothing");
    scopes_.pop_back();
  } else if (text.back() == ':') {
    labels_[std::string(text.substr(0, text.size() - 1))] = static_cast<std::uint32_t>(f_.code.size());
  } else if (text[0] == '.') {
    declaration(text);
  } else {
    instruction(text, line);
  }
}

void Decoder::declaration(std::string_view text) {
  if (text.starts_with(".pragma") || text.starts_with(".file")) return;
  if (!text.starts_with(".reg")) return variable(text);
  const std::vector<std::string> words = split_words(text);
  const int width = type_bytes(words.at(1).substr(1));
  if (width == 0) fail("a register of an unknown type");
  for (const std::string& name : split_operands(text.substr(text.find(words[1]) + words[1].size()))) {
    if (const std::size_t open = name.find('<'); open != std::string::npos) {
      const std::uint64_t count = number_bits(std::string_view(name).substr(open + 1, name.find('>') - open - 1));
      const std::uint32_t first = new_register(width * static_cast<int>(count));
      scopes_.back().families.push_back({name.substr(0, open), count, {first, width}});
    } else {
      scopes_.back().registers[name] = {new_register(width), width};
    }
  }
}

// .shared, .local and .param variables of the body.
void Decoder::variable(std::string_view text) {
  const std::vector<std::string> words = split_words(text);
  std::size_t align = 0, width = 0, count = 1;
  std::string name = words.back();
  for (std::size_t i = 1; i + 1 < words.size(); ++i) {
    if (words[i] == ".align") {
      align = number_bits(words.at(++i));
    } else {
      width = static_cast<std::size_t>(type_bytes(words[i].substr(1)));
    }
  }
  if (const std::size_t bracket = name.find('['); bracket != std::string::npos) {
    count = number_bits(std::string_view(name).substr(bracket + 1, name.find(']') - bracket - 1));
    name.resize(bracket);
  }
  if (width == 0) fail("a variable of an unknown type");
  if (align == 0) align = width;
  const std::size_t bytes = width * count;
  if (words[0] == ".shared") {
    add_shared(name, bytes, align);
  } else if (words[0] == ".local") {
    locals_[name] = new_local(bytes, align);
  } else if (words[0] == ".param") {
    scopes_.back().parameters[name] = {new_local(bytes, std::max<std::size_t>(align, 8)), bytes};
  } else {
    fail("a directive that is not known");
  }
}

// At the least aligned place that the declaration allows, with a gap before it.
void Decoder::add_shared(const std::string& name, std::size_t bytes, std::size_t align) {
  const std::size_t step = std::max<std::size_t>(align, 8);
  const std::size_t offset = (f_.shared_bytes + 16 + 2 * step - 1) / (2 * step) * (2 * step) + step;
  f_.shared.push_back({name, offset, bytes});
  f_.shared_bytes = offset + bytes;
}

void Decoder::resolve_branches() {
  for (const auto& [at, label] : branches_) {
    const auto found = labels_.find(label);
    if (found == labels_.end()) fail("there is no label " + label);
    f_.code[at].target = found->second;
  }
}

void Decoder::instruction(std::string_view text, int line) {
  Instruction in;
  std::string_view rest = text;
  if (rest[0] == '@') {
    in.guard_negated = rest[1] == '!';
    const std::size_t end = rest.find(' ');
    in.guard = operand(rest.substr(in.guard_negated ? 2 : 1, end - (in.guard_negated ? 2 : 1)), 1).place;
    rest.remove_prefix(end + 1);
  }
  const std::size_t space = std::min(rest.find(' '), rest.size());
  const std::string opcode(rest.substr(0, space));
  const std::string_view tail = rest.substr(std::min(space + 1, rest.size()));
  const std::vector<std::string> operands = split_operands(tail);
  const std::string base = opcode.substr(0, opcode.find('.'));
  in.form = form_of(opcode);
  if (base == "bra") {
    in.control = Control::branch;
    branches_.emplace_back(f_.code.size(), operands.at(0));
  } else if (opcode == "ret" || opcode == "ret.uni" || opcode == "exit") {
    in.control = Control::exit;
  } else if (opcode == "bar.sync" || opcode == "barrier.sync" || opcode == "barrier.sync.aligned") {
    if (operands.size() != 1 || operands[0] != "0") fail("only barrier 0 of all threads is supported");
    in.control = Control::barrier;
  } else if (opcode == "membar.gl" || opcode == "fence.sc.gpu" || opcode == "fence.acq_rel.gpu") {
    in.control = Control::fence;
    in.op = fence;
    f_.communicates = true;
  } else if (base == "call") {
    call(in, tail);
  } else if (base == "ld" || base == "st" || base == "atom" || base == "ldmatrix") {
    memory(in, opcode, operands);
  } else if (base == "mov") {
    move(in, opcode, operands);
  } else {
    plain(in, opcode, operands);
  }
  f_.code.push_back(std::move(in));
  f_.lines.push_back(line);
  f_.texts.emplace_back(text);
}

// The source of a conversion may be a register that is wider than its type: its low part is taken beforehand.
bool Decoder::narrow(Instruction& in, std::string_view text, int width) {
  const Register* const found = find_register(text);
  if (found == nullptr || found->width <= width) return false;
  Instruction before;
  before.op = forms().find("cvt.u" + std::to_string(8 * width) + ".u" + std::to_string(8 * found->width))->op;
  before.form = in.form;
  before.guard = in.guard;
  before.guard_negated = in.guard_negated;
  before.registers[1] = found->place;
  in.registers[1] = before.registers[0] = new_register(width);
  f_.code.push_back(std::move(before));
  f_.lines.push_back(line_);
  f_.texts.push_back(statement_);
  return true;
}

// Registers and immediates, in braces or not, in the order of the form.
void Decoder::plain(Instruction& in, const std::string& opcode, const std::vector<std::string>& operands) {
  const Form* const form = forms().find(opcode);
  if (form == nullptr) fail("an instruction that is not known");
  in.op = form->op;
  std::size_t at = 0;
  const auto next = [&](std::string_view text) {
    if (at >= form->widths.size()) fail("too many operands");
    const int width = form->widths[at];
    if (at == 1 && opcode.starts_with("cvt.") && narrow(in, text, width)) {
      ++at;
      return;
    }
    in.registers[at] = text == "_"                                         ? kNowhere
                       : at < static_cast<std::size_t>(form->destinations) ? declared(text).place
                                                                           : operand(text, width).place;
    if (text != "_" && at < static_cast<std::size_t>(form->destinations) && declared(text).width != width) {
      fail("a destination of the wrong width");
    }
    ++at;
  };
  for (const std::string& text : operands) {
    if (text[0] == '{') {
      for (const std::string& one : split_operands(std::string_view(text).substr(1, text.size() - 2))) next(one);
    } else if (const std::size_t bar = text.find('|'); bar != std::string::npos) {
      next(std::string_view(text).substr(0, bar));
      next(std::string_view(text).substr(bar + 1));
    } else {
      next(text);
      if (opcode.starts_with("shfl") && at == 1) next("_");
    }
  }
  if (at != form->widths.size()) fail("not enough operands");
}

}  // namespace weft::ptx_on_cpu
