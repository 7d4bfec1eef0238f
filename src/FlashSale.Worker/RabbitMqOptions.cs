using System.ComponentModel.DataAnnotations;
using FlashSale.Platform;

namespace FlashSale.Worker;

/// <summary>Where the broker is. Section <c>RabbitMq</c>.</summary>
public sealed class RabbitMqOptions
{
    /// <summary>
    /// AMQP URI: <c>amqp://user:password@host:port/vhost</c>, or amqps, with all nodes of a cluster and parameters as
    /// <see cref="RabbitMqUrl"/> takes them.
    /// </summary>
    [Required, Secret]
    public string Url { get; set; } = "";

    /// <summary>The broker at that URL.</summary>
    /// <exception cref="InvalidSettingException">It is not an AMQP URI, or has a parameter that cannot be honoured.</exception>
    public RabbitMqUrl Read() => RabbitMqUrl.Read(Url);
}
