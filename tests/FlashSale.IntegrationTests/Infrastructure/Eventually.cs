using System.Diagnostics;

namespace FlashSale.IntegrationTests.Infrastructure;

/// <summary>Asks for a condition again and again. It never sleeps for a time that should be enough.</summary>
public static class Eventually
{
    private static readonly TimeSpan Interval = TimeSpan.FromMilliseconds(20);

    /// <summary>Asks until the condition is true.</summary>
    /// <returns>The time that it took.</returns>
    /// <exception cref="TimeoutException">The condition was not true within the deadline.</exception>
    public static Task<TimeSpan> TrueAsync(string what, TimeSpan deadline, Func<bool> condition) =>
        TrueAsync(what, deadline, () => Task.FromResult(condition()));

    /// <inheritdoc cref="TrueAsync(string, TimeSpan, Func{bool})" />
    public static async Task<TimeSpan> TrueAsync(string what, TimeSpan deadline, Func<Task<bool>> condition)
    {
        var clock = Stopwatch.StartNew();
        while (!await condition())
        {
            if (clock.Elapsed > deadline) throw new TimeoutException($"Not within {deadline.TotalSeconds:0.###} s: {what}.");
            await Task.Delay(Interval);
        }
        return clock.Elapsed;
    }

    /// <summary>
    /// Asks until the answer satisfies the condition, and returns it. A failure shows the last answer.
    /// </summary>
    public static async Task<T> GetAsync<T>(string what, TimeSpan deadline, Func<Task<T>> ask, Func<T, bool> satisfies)
    {
        var clock = Stopwatch.StartNew();
        while (true)
        {
            var answer = await ask();
            if (satisfies(answer)) return answer;
            if (clock.Elapsed > deadline) throw new TimeoutException($"Not within {deadline.TotalSeconds:0.###} s: {what}. Last answer: {answer}");
            await Task.Delay(Interval);
        }
    }
}
