//! Any text as a configuration: diagnostics or a configuration, never a panic; and what is printed loads again and
//! prints the same.
#![no_main]

use lb_config::Config;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let env = |name: &str| (name == "PORT").then(|| "8080".to_owned());
    match Config::parse(text, &env) {
        Ok(loaded) => {
            let printed = loaded.config.print(&loaded.sources);
            let again = match Config::parse(&printed, &env) {
                Ok(again) => again,
                Err(diagnostics) => panic!("printed, then refused: {diagnostics}\n{printed}"),
            };
            assert_eq!(again.config.print(&again.sources), printed);
        }
        Err(diagnostics) => assert!(!diagnostics.to_string().is_empty()),
    }
});
