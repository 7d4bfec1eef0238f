using System.Globalization;

namespace FlashSale.LoadTests.Targets;

/// <summary>
/// Addresses of the product under load, and the secrets to use it with. Addresses are roots, such as
/// http://127.0.0.1:8080/.
/// </summary>
public sealed record Target
{
    /// <summary>Name of the setting that holds <see cref="Api"/>.</summary>
    public const string ApiUrl = "FLASHSALE_API_URL";

    /// <summary>The shoppers' host, or the load balancer before it.</summary>
    public required Uri Api { get; init; }

    /// <summary>The managers' host.</summary>
    public required Uri Admin { get; init; }

    public required Uri Worker { get; init; }

    /// <summary>The payment sandbox. Null where shoppers would pay real money.</summary>
    public Uri? Payments { get; init; }

    /// <summary>A token of role manager or operator.</summary>
    public required string AdminToken { get; init; }

    /// <summary>The HS256 secret that signs shoppers' tokens.</summary>
    public required string JwtKey { get; init; }

    public required string JwtIssuer { get; init; }

    public required string JwtAudience { get; init; }

    public required string JwtKid { get; init; }

    /// <summary>Address of Redis, as host:port.</summary>
    public required string Redis { get; init; }

    /// <summary>Password of Redis. Null where Redis asks for no password.</summary>
    public string? RedisPassword { get; init; }

    /// <summary>Address of Postgres, as a libpq URI.</summary>
    public required string Postgres { get; init; }

    /// <summary>
    /// Process ids by name (api, worker, redis, …) of the parts that run on this machine. Empty if the product runs on
    /// another one.
    /// </summary>
    public IReadOnlyDictionary<string, int> Processes { get; init; } = new Dictionary<string, int>(StringComparer.Ordinal);

    /// <summary>
    /// Reads KEY=value lines as scripts/up.sh writes them. A value of the environment wins over the file.
    /// </summary>
    /// <param name="envFile">The file. It may be missing when the environment has everything.</param>
    /// <param name="environment">Looks a name up. Null: in this process' environment.</param>
    /// <exception cref="InvalidDataException">A setting is missing or is no address. The message has its name and
    /// value, but no secret.</exception>
    public static Target Load(string envFile, Func<string, string?>? environment = null)
    {
        environment ??= Environment.GetEnvironmentVariable;
        var settings = File.Exists(envFile) ? ReadLines(envFile) : [];
        string? Optional(string name) => environment(name) is { Length: > 0 } set ? set : settings.GetValueOrDefault(name);
        string Required(string name) => Optional(name) is { Length: > 0 } value ? value : throw new InvalidDataException($"{name} is set neither in the environment nor in {envFile}{(File.Exists(envFile) ? "" : ", which does not exist")}.");
        Uri Address(string name) => Uri.TryCreate(Required(name), UriKind.Absolute, out var uri) && uri.Scheme is "http" or "https"
            ? uri : throw new InvalidDataException($"{name} is {Optional(name)}: it must be an http or https address.");
        var api = Address(ApiUrl);
        return new Target
        {
            Api = api,
            Admin = Address("FLASHSALE_ADMIN_URL"),
            Worker = Address("FLASHSALE_WORKER_URL"),
            Payments = Optional("FLASHSALE_PAYMENTS_URL") is null ? null : Address("FLASHSALE_PAYMENTS_URL"),
            AdminToken = Required("FLASHSALE_ADMIN_TOKEN"),
            JwtKey = Required("FLASHSALE_JWT_KEY"),
            JwtIssuer = Required("FLASHSALE_JWT_ISSUER"),
            JwtAudience = Required("FLASHSALE_JWT_AUDIENCE"),
            JwtKid = Optional("FLASHSALE_JWT_KID") ?? "local-1",
            Redis = Required("FLASHSALE_REDIS"),
            RedisPassword = Optional("FLASHSALE_REDIS_PASSWORD"),
            Postgres = Required("FLASHSALE_POSTGRES"),
            // The ids belong to the machine on which the file was written. It is this machine as long as the Api is
            // here.
            Processes = settings.Where(pair => api.IsLoopback && pair.Key.StartsWith("FLASHSALE_PID_", StringComparison.Ordinal))
                .ToDictionary(pair => pair.Key["FLASHSALE_PID_".Length..].ToLowerInvariant(), pair => int.Parse(pair.Value, CultureInfo.InvariantCulture), StringComparer.Ordinal),
        };
    }

    private static Dictionary<string, string> ReadLines(string file)
    {
        var settings = new Dictionary<string, string>(StringComparer.Ordinal);
        foreach (var line in File.ReadLines(file))
        {
            var equals = line.IndexOf('=', StringComparison.Ordinal);
            if (equals > 0 && line[0] != '#') settings[line[..equals]] = Unquote(line[(equals + 1)..]);
        }
        return settings;
    }

    // Reads the value as a shell would. up.sh puts values with special characters in single quotes.
    private static string Unquote(string value) => value is ['\'', .. var inner, '\''] ? inner.Replace(@"'\''", "'", StringComparison.Ordinal) : value;
}
