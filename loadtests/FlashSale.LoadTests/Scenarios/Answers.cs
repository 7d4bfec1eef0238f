using System.Collections.Concurrent;
using FlashSale.LoadTests.Engine;
using FlashSale.LoadTests.Verdicts;

namespace FlashSale.LoadTests.Scenarios;

/// <summary>
/// Turns the answers of shoppers into results for the engine, by status and code. Each result is created once.
/// </summary>
public static class Answers
{
    private static readonly ConcurrentDictionary<(int Status, string Code, bool IsError), Response<object>> Known = new();

    /// <summary>
    /// Success: the purchase was decided. Failure: it was not (no answer, an unknown outcome, come again later, no
    /// token, no such sale).
    /// </summary>
    public static Response<object> Of(in Told told) => Of(told, !(told.IsAccepted || told.IsDecision));

    /// <summary>Success: one of the expected codes ("202" is an acceptance). Failure: anything else.</summary>
    public static Response<object> Expect(in Told told, params ReadOnlySpan<string> expected) => Of(told, !expected.Contains(told.Code.Length == 0 ? $"{told.Status}" : told.Code));

    private static Response<object> Of(in Told told, bool isError)
    {
        var key = (told.Status, told.Code, isError);
        return Known.TryGetValue(key, out var response) ? response : Known.GetOrAdd(key, Make);
    }

    private static Response<object> Make((int Status, string Code, bool IsError) key)
    {
        var name = key.Code.Length == 0 ? $"{key.Status}" : $"{key.Status} {key.Code}";
        return key.IsError ? Response.Fail(name) : Response.Ok(name);
    }
}
