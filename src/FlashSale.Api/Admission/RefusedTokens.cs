using System.Diagnostics.Metrics;
using FlashSale.Admission;
using FlashSale.Platform;

namespace FlashSale.Api.Admission;

/// <summary>
/// Tells why a token was refused. The client reads it in <c>WWW-Authenticate</c> (RFC 6750 3). Operators read it in a
/// metric, and in at most one log line per second, however many tokens are refused.
/// </summary>
public static partial class RefusedTokens
{
    private const long LogInterval = 1_000;

    private static readonly Counter<long> Refused =
        new Meter("FlashSale.Api").CreateCounter<long>("flashsale_tokens_refused_total", description: "Requests answered by 401, by the reason.");

    private static readonly (string Reason, string Header)[] Told = [.. Enum.GetValues<JwtResult>().Select(result => (ReasonOf(result), HeaderOf(result)))];

    private static long _lastLogged = -LogInterval;
    private static long _unlogged;

    /// <summary>Answers with 401, and names the reason in <c>WWW-Authenticate</c>.</summary>
    /// <param name="context">The request.</param>
    /// <param name="result">The verifier's result, other than <see cref="JwtResult.Ok"/>.</param>
    public static Task RefuseAsync(HttpContext context, JwtResult result)
    {
        var (reason, header) = Told[(int)result];
        Refused.Add(1, new KeyValuePair<string, object?>("reason", reason));
        context.Response.Headers.WWWAuthenticate = header;
        // A request without a token is not logged: no token was refused, and any robot sends such requests.
        if (result is not JwtResult.Missing) Log(context, reason);
        return Problems.WriteAsync(context, Problem.Unauthenticated);
    }

    private static void Log(HttpContext context, string reason)
    {
        var count = Interlocked.Increment(ref _unlogged);
        var (now, last) = (Environment.TickCount64, Volatile.Read(ref _lastLogged));
        if (now - last < LogInterval || Interlocked.CompareExchange(ref _lastLogged, now, last) != last) return;
        Interlocked.Add(ref _unlogged, -count);
        LogRefused(context.RequestServices.GetRequiredService<ILoggerFactory>().CreateLogger(typeof(RefusedTokens)), reason, DescriptionOf(reason), count);
    }

    private static string ReasonOf(JwtResult result) => result switch
    {
        JwtResult.Ok => "none",
        JwtResult.Missing => "missing",
        JwtResult.Malformed => "malformed",
        JwtResult.NoExpiry => "no_expiry",
        JwtResult.UnknownKey => "unknown_key",
        JwtResult.BadSignature => "bad_signature",
        JwtResult.Expired => "expired",
        JwtResult.NotYetValid => "not_yet_valid",
        JwtResult.WrongIssuer => "wrong_issuer",
        JwtResult.WrongAudience => "wrong_audience",
        JwtResult.BadUser => "bad_user",
    };

    // RFC 6750 allows only some characters in error_description. These texts keep to them.
    private static string DescriptionOf(string reason) => reason switch
    {
        "malformed" => "The token is not a compact JWS of a JSON object, or asks for an extension that is not supported",
        "no_expiry" => "The token has no exp",
        "unknown_key" => "No key of this kid and alg is known here",
        "bad_signature" => "The signature is not that of the key",
        "expired" => "The token has expired",
        "not_yet_valid" => "The token is not valid yet",
        "wrong_issuer" => "The iss of the token is not trusted here",
        "wrong_audience" => "The aud of the token does not name this service",
        "bad_user" => $"The claim that names the user is absent or no user id: {Contracts.UserId.Rule}",
        _ => "",
    };

    // RFC 6750 3.1: the answer to a request without a token names the scheme alone.
    private static string HeaderOf(JwtResult result) =>
        result is JwtResult.Ok or JwtResult.Missing ? "Bearer" : $"Bearer error=\"invalid_token\", error_description=\"{DescriptionOf(ReasonOf(result))}\"";

    [LoggerMessage(1, LogLevel.Warning, "A token was refused: {Reason}. {Description}. {Count} were refused since the last such line")]
    private static partial void LogRefused(ILogger logger, string reason, string description, long count);
}
