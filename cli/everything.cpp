#include <ostream>

#include "cli/nouns.hpp"

namespace firn::cli {

void add_everything(Program& program, Context& context) {
  program.everywhere([&context](Command& command) {
    command.option("-o,--output", "table|json|yaml", "Form of the output (default: table)",
                   [&context](const std::string& form) -> Status {
                     if (form != "table" && form != "json" && form != "yaml")
                       return make_error(Code::invalid, "'" + form + "' is neither table nor json nor yaml");
                     context.output = form == "json" ? Output::json : form == "yaml" ? Output::yaml : Output::table;
                     return {};
                   });
    command.option("--state-dir", "DIR", "Where the state lives (default: $FIRN_STATE_DIR or /var/lib/firn)",
                   [&context](const std::string& path) -> Status {
                     if (path.empty()) return make_error(Code::invalid, "must not be empty");
                     context.state_dir = path;
                     return {};
                   });
    command.option("--socket", "PATH", "Socket of firn-routed (default: /run/firn/routed.sock)", Command::text(context.socket));
  });
  Command root = program.root();
  add_init(root, context);
  add_join(root, context);
  add_status(root, context);
  add_cluster(root, context);
  add_node(root, context);
  add_pool(root, context);
  add_reservation(root, context);
  add_ipam(root, context);
  add_endpoint(root, context);
  add_route(root, context);
  add_trace(root, context);
  add_policy(root, context);
  add_bgp(root, context);
  add_get(root, context);
  add_apply(root, context);
  add_diff(root, context);
  add_delete(root, context);
  Command completion = root.group("completion", "Completion for the shell");
  completion.verb("bash", "Print the completion script of bash",
                  "source <(firnctl completion bash)\nfirnctl completion bash > /usr/share/bash-completion/completions/firnctl",
                  [&program, &context]() -> Result<Exit> {
                    context.out << program.bash_completion();
                    return Exit::ok;
                  });
  add_version(root, context);
}

}  // namespace firn::cli
