using FlashSale.BareEndpoint;

// This is the yardstick of scripts/bench.sh: the throughput of a plain Kestrel endpoint on this machine, measured
// beside the product in the same run.
//   FlashSale.BareEndpoint                      serves POST /bare and POST /sold-out (settings: Urls, Bare:*)
//   FlashSale.BareEndpoint tokens COUNT FILE    writes signed tokens of distinct users, one a line (settings: Jwt:*)
return args is ["tokens", var count, var file]
    ? Tokens.Write(int.Parse(count), file, new ConfigurationBuilder().AddEnvironmentVariables().Build())
    : await BareHost.RunAsync(args);
