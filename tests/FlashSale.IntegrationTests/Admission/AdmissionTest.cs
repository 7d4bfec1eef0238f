using FlashSale.IntegrationTests.Infrastructure;

namespace FlashSale.IntegrationTests.Admission;

/// <summary>Two Api nodes, so that no test passes only because one process remembers.</summary>
public sealed class TwoApis() : StackFixture(new StackOptions { Apis = 2 });

/// <summary>Two Api nodes with challenges on, as easy as the settings allow.</summary>
public sealed class TwoApisWithChallenges() : StackFixture(new StackOptions
{
    Apis = 2, Settings = { ["Admission__Challenge"] = "on", ["Admission__ChallengeMaxNumber"] = $"{MaxNumber}" },
})
{
    public const int MaxNumber = 2_000;
}

public abstract class AdmissionTest(StackFixture fixture, ITestOutputHelper output) : StackTest(fixture, output)
{
    /// <summary>The default life of a ticket, when nothing is configured.</summary>
    protected const int TicketMilliseconds = 120_000;

    protected async Task<long> RedisNowAsync()
    {
        var time = await Stack.Redis.Client.ListAsync("TIME");
        return long.Parse(Text(time[0])) * 1_000 + long.Parse(Text(time[1])) / 1_000;

        static string Text(object? part) => System.Text.Encoding.ASCII.GetString((byte[])part!);
    }

    protected Task<long> EpochAsync(Sale sale) => Stack.Redis.Client.NumberAsync("HGET", $"{sale.RedisPrefix}sale", "epoch");

    /// <summary>The Redis TIME at which a ticket was given, in milliseconds.</summary>
    protected static long GivenAt(Answer admission) => DateTimeOffset.Parse(admission.Member("expiresAt")!).ToUnixTimeMilliseconds() - TicketMilliseconds;
}
