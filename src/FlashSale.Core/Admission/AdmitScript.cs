using FlashSale.Platform;
using FlashSale.Sales;
using StackExchange.Redis;

namespace FlashSale.Admission;

/// <summary>What admit.lua decided.</summary>
public enum AdmitCode : byte
{
    /// <summary>Admitted.</summary>
    Admitted = (byte)'A',

    /// <summary>Redis does not know the sale.</summary>
    NotLoaded = (byte)'N',

    /// <summary>Redis was started anew and is not verified yet.</summary>
    NotVerified = (byte)'V',

    /// <summary>The sale was loaded again: the caller's snapshot is old.</summary>
    OtherEpoch = (byte)'E',

    /// <summary>The caller's deadline has passed.</summary>
    TooLate = (byte)'D',

    /// <summary>The sale is held.</summary>
    Paused = (byte)'P',

    /// <summary>Before opensAt.</summary>
    NotOpen = (byte)'O',

    /// <summary>Past closesAt, or ended.</summary>
    Closed = (byte)'C',

    /// <summary>The challenge has expired, or its solution has admitted somebody already.</summary>
    SolutionUsed = (byte)'X',

    /// <summary>Beyond the sale's admission rate.</summary>
    RateLimited = (byte)'L',
}

/// <summary>The decision about one request for admission.</summary>
/// <param name="Code">What was decided.</param>
/// <param name="Now">Redis TIME, Unix milliseconds.</param>
/// <param name="WaitMilliseconds">Beyond the rate: until there is a token again, if nobody else takes it.</param>
public readonly record struct AdmitDecision(AdmitCode Code, long Now, long WaitMilliseconds);

/// <summary>The caller of admit.lua.</summary>
public sealed class AdmitScript(RedisConnection redis)
{
    private static readonly RedisScript Script = new("Sales.door.lua", "Admission.admit.lua");

    /// <summary>Asks for one admission.</summary>
    /// <param name="keys">Of the sale.</param>
    /// <param name="epoch">The one that the caller's snapshot carries.</param>
    /// <param name="notAfter">Redis TIME after which nobody may be admitted any more, Unix milliseconds.</param>
    /// <param name="solved">The challenge that was answered, where one was asked for.</param>
    /// <param name="deadline">How long to wait for the answer.</param>
    /// <exception cref="RedisUnavailableException">Nothing was decided.</exception>
    /// <exception cref="RedisOutcomeUnknownException">It may have been decided: a token may be gone, and the solution used.</exception>
    public async Task<AdmitDecision> AdmitAsync(SaleKeys keys, long epoch, long notAfter, SolvedChallenge? solved, TimeSpan deadline)
    {
        try
        {
            var answer = (RedisResult[])(await Script.CallAsync(redis, [keys.Sale, keys.Admission, keys.Solved(solved?.Id)],
                [solved?.ExpiresAt ?? 0, epoch, notAfter], deadline))!;
            return new AdmitDecision((AdmitCode)((byte[])answer[0]!)[0], (long)answer[1], (long)answer[2]);
        }
        catch (RedisServerException e)
        {
            throw new RedisUnavailableException($"admit.lua refused: {e.Message}", e);
        }
    }
}
