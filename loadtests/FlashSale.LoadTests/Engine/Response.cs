using System.Runtime.CompilerServices;

namespace FlashSale.LoadTests.Engine;

/// <summary>How an iteration or a step ended.</summary>
public interface IResponse
{
    /// <summary>By which the reports count; empty when there is none. Any short text: keep the number of different ones small.</summary>
    string StatusCode { get; }

    /// <summary>Counted among the failed ones.</summary>
    bool IsError { get; }

    /// <summary>Bytes of the answer.</summary>
    long SizeBytes { get; }

    /// <summary>For the reports, beside the status code.</summary>
    string Message { get; }
}

/// <summary>Makes responses.</summary>
public static class Response
{
    private static readonly Response<object> Plain = new("", IsError: false, 0, "", default);
    private static readonly Response<object> PlainFailure = new("", IsError: true, 0, "", default);

    /// <summary>It went as it should.</summary>
    [OverloadResolutionPriority(1)]
    public static Response<object> Ok(string statusCode = "", long sizeBytes = 0, string message = "") =>
        statusCode.Length == 0 && sizeBytes == 0 && message.Length == 0 ? Plain : new(statusCode, IsError: false, sizeBytes, message, default);

    /// <summary>It went as it should, and this is what came.</summary>
    public static Response<T> Ok<T>(T payload, string statusCode = "", long sizeBytes = 0, string message = "") =>
        new(statusCode, IsError: false, sizeBytes, message, new Payload<T>(payload));

    /// <summary>It did not.</summary>
    [OverloadResolutionPriority(1)]
    public static Response<object> Fail(string statusCode = "", string message = "", long sizeBytes = 0) =>
        statusCode.Length == 0 && sizeBytes == 0 && message.Length == 0 ? PlainFailure : new(statusCode, IsError: true, sizeBytes, message, default);

    /// <summary>It did not, in a step that otherwise has a payload.</summary>
    public static Response<T> Fail<T>(string statusCode = "", string message = "", long sizeBytes = 0) => new(statusCode, IsError: true, sizeBytes, message, default);

    /// <summary>It did not, and this is what came.</summary>
    public static Response<T> Fail<T>(T payload, string statusCode = "", string message = "", long sizeBytes = 0) =>
        new(statusCode, IsError: true, sizeBytes, message, new Payload<T>(payload));
}

/// <summary>How a step ended, and what it hands on to the next.</summary>
public sealed record Response<T>(string StatusCode, bool IsError, long SizeBytes, string Message, Payload<T> Payload) : IResponse;

/// <summary>What a step hands on, if anything.</summary>
public readonly struct Payload<T>
{
    private readonly T _value;

    internal Payload(T value)
    {
        _value = value;
        HasValue = true;
    }

    /// <summary>Whether the step handed something on.</summary>
    public bool HasValue { get; }

    /// <summary>What it handed on.</summary>
    /// <exception cref="InvalidOperationException">It handed nothing on.</exception>
    public T Value => HasValue ? _value : throw new InvalidOperationException("The step handed on no payload.");
}
