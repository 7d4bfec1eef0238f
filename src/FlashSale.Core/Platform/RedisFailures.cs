using StackExchange.Redis;

namespace FlashSale.Platform;

/// <summary>Redis did not run the command: nothing was sent, or Redis refused it before its first write.</summary>
public sealed class RedisUnavailableException(string message, Exception? inner = null) : Exception(message, inner)
{
    /// <summary>Whether Redis refused the command because its memory is full.</summary>
    public bool IsFull => InnerException is RedisServerException { Message: var text } && text.StartsWith("OOM", StringComparison.Ordinal);
}

/// <summary>
/// The command may or may not have run: its answer did not come in time, or the connection broke under it.
/// </summary>
public sealed class RedisOutcomeUnknownException(string message, Exception? inner = null) : Exception(message, inner);

/// <summary>Sorts the client's exceptions by the one question that matters: may the command have run?</summary>
internal static class RedisFailures
{
    /// <summary>
    /// Turns the client's exception into the one that callers know. Returns null if neither the connection nor the
    /// state of the server is the cause.
    /// </summary>
    public static Exception? Translate(Exception e) => e switch
    {
        RedisTimeoutException { Commandstatus: CommandStatus.WaitingToBeSent or CommandStatus.WaitingInBacklog }
            or RedisConnectionException { CommandStatus: CommandStatus.WaitingToBeSent or CommandStatus.WaitingInBacklog }
            or RedisConnectionException { FailureType: ConnectionFailureType.UnableToResolvePhysicalConnection } =>
            new RedisUnavailableException("There is no connection to Redis.", e),
        TimeoutException => new RedisOutcomeUnknownException("Redis did not answer in time.", e),
        RedisConnectionException or ObjectDisposedException or TaskCanceledException =>
            new RedisOutcomeUnknownException("The connection to Redis broke.", e),
        // Redis refuses with these errors before the first write of a command or script.
        RedisServerException { Message: var m } when m.StartsWith("LOADING", StringComparison.Ordinal) || m.StartsWith("OOM", StringComparison.Ordinal)
            || m.StartsWith("MISCONF", StringComparison.Ordinal) || m.StartsWith("READONLY", StringComparison.Ordinal)
            || m.StartsWith("BUSY ", StringComparison.Ordinal) || m.StartsWith("MASTERDOWN", StringComparison.Ordinal) || m.StartsWith("NOREPLICAS", StringComparison.Ordinal)
            || m.StartsWith("CLUSTERDOWN", StringComparison.Ordinal) || m.Contains("command not allowed when used memory", StringComparison.Ordinal) =>
            new RedisUnavailableException(m, e),
        _ => null,
    };
}
